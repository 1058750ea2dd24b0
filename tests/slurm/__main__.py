"""Runs the job array that `sandbox plan --array slurm` prints on a Slurm of one node: python3 -B tests/slurm (make slurm).

Needs root and Debian's packages slurmctld, slurmd, slurm-client and munge. A Slurm with its own ports, keys and folders is
started below a temporary folder and ended again; one that runs on this machine already is left alone. SANDBOX names the program.

 1. `sbatch --test-only` accepts the script.
 2. All tasks of the array end, and one that gets SIGTERM in its middle writes a checkpoint, is queued again and goes on.
 3. The merged run has the records of one process that trained all arms, times left out.
 4. A task whose time is nearly over gets SIGTERM from Slurm before the limit: how long before is printed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cluster import Cluster, wait_until

SCENARIO = """
[run]
name = "on-slurm"
seeds = [3, 4]
steps = {steps}
device = "cpu"
threads = 1

[policy]
from_scratch = true

[data.soundscapes]
train_clips = 8
heldout_clips = 6

[sampling]
group_size = 4
prompts_per_step = 4
max_new_tokens = 24

[rewards]
format = {{ kind = "format" }}
accuracy = {{ kind = "accuracy" }}

[shaping]
formula = "accuracy + w_format * format"
weights = {{ format = 0.5 }}

[eval]
every = 0
at_start = false
limit = 6

[checkpoint]
every = 50

# Random weights never vary in their rewards.
[limits]
action = "ignore"

[[arm]]
name = "a"

[[arm]]
name = "b"
shaping.weights.format = 1.0
"""


def timeless(path):
    """The rows of a JSON-lines file without what the clock says."""
    timed = re.compile(r"_(seconds|per_second)$")
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [{key: value for key, value in row.items() if not timed.search(key)} for row in rows]


class Study:
    """A scenario, the folder of its sweep, and the Slurm that trains it."""

    def __init__(self, folder, cluster, sandbox, name, steps):
        self.cluster, self.sandbox = cluster, sandbox
        self.folder = folder / name
        self.folder.mkdir()
        self.scenario = self.folder / "study.toml"
        self.scenario.write_text(SCENARIO.format(steps=steps))
        self.sweep = self.folder / "sweep"
        self.script = self.folder / "array.sbatch"

    def command(self, *arguments):
        """Runs a command of the sandbox; returns what it prints."""
        done = subprocess.run(
            [self.sandbox, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode != 0:
            sys.exit(f"sandbox {arguments}: exit code {done.returncode}: {done.stderr}")
        return done.stdout

    def plan(self, *options):
        self.script.write_text(
            self.command("plan", self.scenario, "--sweep", self.sweep, "--array", "slurm", *options)
        )

    def submit(self, *options):
        said = self.cluster.run("sbatch", *options, self.script, cwd=self.folder)
        return re.search(r"Submitted batch job (\d+)", said).group(1)

    def status(self, task):
        """The status of a task's arm; `None` before there is one."""
        files = sorted(self.sweep.glob(f"tasks/{task:03}-*/*/seed-*/status.json"))
        try:
            return json.loads(files[0].read_text())
        except (IndexError, ValueError, FileNotFoundError):
            return None

    def is_done(self, task):
        status = self.status(task)
        return status is not None and status["status"] == "done"

    def log(self, task):
        logs = list(self.folder.glob(f"*-{task}.log"))
        return logs[0].read_text() if logs else ""


def interrupted_array(study):
    """The array, one of whose tasks gets SIGTERM in its middle."""
    study.plan()
    accepted = study.cluster.run("sbatch", "--test-only", study.script, cwd=study.folder, merged=True)
    print("sbatch --test-only:", accepted.strip())
    job = study.submit()

    def begun():
        status = study.status(1)
        return status is not None and status["status"] == "running" and metrics(study, 1) >= 5

    wait_until("task 1 takes steps", begun, 120)
    at = metrics(study, 1)
    # scancel asks again for a while when the task has ended meanwhile, so nobody waits for it.
    study.cluster.begin("scancel", "--signal=TERM", f"{job}_1")
    wait_until("task 1 stops after a checkpoint", lambda: study.status(1)["status"] == "stopped", 60)
    stopped_at = study.status(1)["step"]
    print(f"task 1: SIGTERM after step {at}, stopped with a checkpoint at step {stopped_at}")
    assert study.status(1)["checkpoint"], study.status(1)
    wait_until("all tasks end", lambda: all(study.is_done(task) for task in range(1, 5)), 400)
    restarts = study.cluster.run("scontrol", "show", "job", f"{job}_1")
    restarted = int(re.search(r"Restarts=(\d+)", restarts).group(1))
    assert restarted == 1, restarts
    print(f"array {job}: 4 tasks done, task 1 was queued again {restarted} time")


def metrics(study, task):
    files = sorted(study.sweep.glob(f"tasks/{task:03}-*/*/seed-*/metrics.jsonl"))
    return files[0].read_bytes().count(b"\n") if files else 0


def compare_with_unbroken(study):
    """The merged run beside one process that trained all arms."""
    study.command("merge-runs", study.sweep)
    study.command(study.scenario, "--no-control", "-q", "--out", study.folder / "runs")
    whole = next((study.folder / "runs").iterdir())
    compared = 0
    for arm in ("a", "b"):
        for seed in ("seed-3", "seed-4"):
            for name in ("metrics.jsonl", "eval.jsonl", "rollouts.jsonl"):
                place = Path(arm, seed, name)
                merged, expected = timeless(study.sweep / "merged" / place), timeless(whole / place)
                assert merged == expected, place
                compared += len(expected)
    print(f"the merged run equals the unbroken one in {compared} rows")


def early_signal(study):
    """A task that does not end within its time: Slurm sends SIGTERM before."""
    study.plan("--no-measure")
    # The script asks for five minutes' notice; the command line overrides it and the limit.
    job = study.submit("--array=1", "--time=2", "--signal=TERM@30")
    wait_until("the task starts", lambda: metrics(study, 1) > 0, 120)
    shown = study.cluster.run("scontrol", "show", "job", f"{job}_1")
    end = time.mktime(time.strptime(re.search(r"EndTime=(\S+)", shown).group(1), "%Y-%m-%dT%H:%M:%S"))
    wait_until("Slurm sends SIGTERM", lambda: study.status(1)["status"] == "stopped", 150)
    before = end - time.time()
    print(f"--time=2 --signal=TERM@30: stopped with a checkpoint {before:.0f} s before the limit")
    assert before > 0
    wait_until("the task is queued again", lambda: "Restarts=1" in study.cluster.run("scontrol", "show", "job", f"{job}_1"), 60)
    study.cluster.run("scancel", job)


def main():
    sandbox = os.environ.get("SANDBOX") or shutil.which("sandbox") or sys.exit("set SANDBOX to the program")
    folder = Path(tempfile.mkdtemp(prefix="sandbox-slurm-"))
    cluster = Cluster(folder, program_folder=Path(sandbox).resolve().parent)
    try:
        cluster.start()
        study = Study(folder, cluster, str(Path(sandbox).resolve()), "interrupted", 200)
        interrupted_array(study)
        compare_with_unbroken(study)
        if not os.environ.get("QUICK"):
            early_signal(Study(folder, cluster, str(Path(sandbox).resolve()), "limited", 100_000))
    except BaseException:
        for log in sorted(folder.glob("*/*.log")) or sorted(folder.glob("*.log")):
            print(f"--- {log}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
        raise
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


main()
