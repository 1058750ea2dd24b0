"""A Slurm of one node below a folder of its own."""

import os
import shutil
import socket
import subprocess
import sys
import time

CONFIGURATION = """
ClusterName=sandbox
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MpiDefault=none
JobRequeue=1
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={megabytes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def wait_until(what, holds, seconds):
    """Waits until something holds; ends the program if it does not within so many seconds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.2)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """munged, slurmctld and slurmd, started and ended by this process."""

    def __init__(self, folder, program_folder):
        missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=self.path(program_folder))]
        if missing or os.geteuid() != 0:
            sys.exit(f"needs root and {', '.join(missing) or 'nothing else'}: apt-get install slurmctld slurmd slurm-client munge")
        self.folder = folder
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": self.path(program_folder),
        }
        self.daemons, self.others = [], []

    @staticmethod
    def path(program_folder):
        return f"{program_folder}:{os.environ['PATH']}:/usr/sbin:/sbin"

    def start(self):
        folder, host = self.folder, socket.gethostname().split(".")[0]
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(64))
        key.chmod(0o400)
        megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host,
                folder=folder,
                controller_port=free_port(),
                node_port=free_port(),
                cpus=os.cpu_count(),
                megabytes=megabytes - 200,
            )
        )
        (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        self.daemon(
            "munged",
            "--foreground",
            "--force",
            f"--socket={folder}/munge.socket",
            f"--key-file={key}",
            f"--pid-file={folder}/munge.pid",
            f"--seed-file={folder}/munge.seed",
            f"--log-file={folder}/munge.log",
        )
        wait_until("munged listens", (folder / "munge.socket").exists, 20)
        self.daemon("slurmctld", "-D", "-f", str(folder / "slurm.conf"))
        self.daemon("slurmd", "-D", "-N", host, "-f", str(folder / "slurm.conf"))
        wait_until("the node is idle", self.is_idle, 60)

    def daemon(self, *command):
        self.daemons.append(self.process(*command))

    def begin(self, *command):
        """Starts a client of Slurm, which is ended with the daemons at the latest."""
        self.others.append(self.process(*command))

    def process(self, *command):
        with open(self.folder / f"{command[0]}-output.log", "wb") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def is_idle(self):
        for process in self.daemons:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        said = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=self.environment, capture_output=True, text=True, check=False, timeout=30
        )
        return said.stdout.strip() == "idle"

    def run(self, *command, cwd=None, merged=False):
        """Runs a client of Slurm; returns what it prints."""
        done = subprocess.run(
            [str(word) for word in command], env=self.environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command}: exit code {done.returncode}: {done.stderr}")
        return done.stdout + done.stderr if merged else done.stdout

    def stop(self):
        """Ends the jobs, then the daemons that this process started."""
        if len(self.daemons) == 3:
            subprocess.run(["scancel", "--user=root"], env=self.environment, check=False, timeout=30, capture_output=True)
            time.sleep(1)
        for process in self.others + self.daemons[::-1]:
            process.terminate()
        for process in self.others + self.daemons:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
