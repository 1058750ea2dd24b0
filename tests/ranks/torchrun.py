"""Real torchrun starts, kills and restarts the ranks of a run; also ranks that are missing. See tests/ranks/README.md.

    torchrun.py SANDBOX TORCHRUN [KILLS]
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCENARIO = """
[run]
name = "torchrun"
steps = 20
seeds = [7]
threads = 1

[data.soundscapes]
train_clips = 16
heldout_clips = 4

[sampling]
group_size = 4
prompts_per_step = 4
max_new_tokens = 24

[grpo]
lr = 1e-4
micro_batch_prompts = 1

[rewards]
accuracy = { kind = "accuracy" }
format = { kind = "format" }

[shaping]
formula = "accuracy + 0.5 * format"

[eval]
every = 0
at_start = false
limit = 2

[checkpoint]
every = 4
keep = 9

[limits]
action = "ignore"

[[arm]]
name = "grpo"
"""


class Failed(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failed(message)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes(sandbox):
    """The processes of this program, by their ids."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "exe") == str(sandbox):
                environment = (entry / "environ").read_bytes().split(b"\0")
                rank = next((int(name[5:]) for name in environment if name.startswith(b"RANK=")), None)
                found.append((int(entry.name), rank, (entry / "cwd").resolve()))
        except OSError:
            continue
    return found


class Place:
    def __init__(self, folder, sandbox, torchrun):
        self.folder, self.sandbox, self.torchrun = Path(folder), sandbox, torchrun
        (self.folder / "torchrun.toml").write_text(SCENARIO)

    def environment(self, **more):
        keep = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
        return keep | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"} | more

    def alone(self, *arguments, **environment):
        command = [self.sandbox, "torchrun.toml", "--no-control", "-q", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.environment(**environment), capture_output=True, text=True)

    def start(self, out, restarts, ranks=2):
        command = [self.torchrun, "--no-python", "--nproc-per-node", str(ranks), "--max-restarts", str(restarts)]
        command += ["--master-port", str(free_port()), self.sandbox, "torchrun.toml", "--no-control", "-q"]
        command += ["--out", out, "--rank-timeout", "5"]
        log = open(self.folder / f"{out}.log", "w")
        return subprocess.Popen(command, cwd=self.folder, env=self.environment(), stdout=log, stderr=subprocess.STDOUT)

    def ranks(self):
        return {rank: pid for pid, rank, folder in processes(self.sandbox) if folder == self.folder.resolve()}

    def rows(self, out):
        runs = list((self.folder / out).iterdir()) if (self.folder / out).is_dir() else []
        check(len(runs) <= 1, f"{out}: {len(runs)} runs; a restart began one of its own")
        if not runs:
            return []
        file = runs[0] / "grpo/seed-7/metrics.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
        timing = ("_seconds", "_per_second")
        return [{name: value for name, value in row.items() if not name.endswith(timing)} for row in rows]

    def weights(self, out):
        (run,) = (self.folder / out).iterdir()
        return (run / "grpo/seed-7/checkpoints/step-000020/model.safetensors").read_bytes()

    def gone(self, seconds=20):
        end = time.monotonic() + seconds
        while self.ranks():
            check(time.monotonic() < end, f"ranks stay behind: {self.ranks()}")
            time.sleep(0.1)


def wait_for_step(place, out, process, step):
    end = time.monotonic() + 180
    while len(place.rows(out)) < step and process.poll() is None:
        check(time.monotonic() < end, f"{out}: no step {step}")
        time.sleep(0.02)


def equal_to_own_ranks(place):
    done = place.alone("--out", "own", "--ranks", "2")
    check(done.returncode == 0, f"--ranks 2: {done.stderr}")
    process = place.start("launched", 0)
    check(process.wait(300) == 0, (place.folder / "launched.log").read_text())
    check(place.rows("launched") == place.rows("own"), "torchrun: other metrics than with --ranks 2")
    check(place.weights("launched") == place.weights("own"), "torchrun: other weights than with --ranks 2")


def restarted(place, number, draws):
    out, victim, step = f"killed-{number}", draws.randrange(2), draws.randrange(0, 19)
    process = place.start(out, 3)
    wait_for_step(place, out, process, step)
    time.sleep(draws.random() * 0.3)
    ranks = place.ranks()
    if victim in ranks:
        os.kill(ranks[victim], signal.SIGKILL)
    check(process.wait(300) == 0, f"{out}, rank {victim} at step {step}: " + (place.folder / f"{out}.log").read_text())
    check(place.rows(out) == place.rows("own"), f"{out}, rank {victim} at step {step}: other metrics")
    check(place.weights(out) == place.weights("own"), f"{out}, rank {victim} at step {step}: other weights")
    place.gone()
    return f"rank {victim} at step {step}"


def torchrun_dies(place):
    process = place.start("orphans", 0)
    wait_for_step(place, "orphans", process, 3)
    check(len(place.ranks()) == 2, f"{place.ranks()}")
    process.kill()
    process.wait()
    place.gone()


def missing_ranks(place):
    port = str(free_port())
    environment = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for rank, told in (("0", "rank 1 did not come within 20 s"), ("1", "the store of the ranks at 127.0.0.1")):
        began = time.monotonic()
        done = place.alone("--rank-timeout", "1", "--out", "missing", RANK=rank, **environment)
        took = time.monotonic() - began
        check(done.returncode in (1, 2) and told in done.stderr, f"rank {rank} alone: {done.returncode} {done.stderr}")
        check(took < 60, f"rank {rank} alone: {took:.0f} s")
    check(not (place.folder / "missing").exists(), "a run was begun without all ranks")


def main():
    sandbox, torchrun = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).absolute()
    kills = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    draws = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder, sandbox, torchrun)
        try:
            equal_to_own_ranks(place)
            print("torchrun: the same metrics and weights as --ranks 2, to the last bit", flush=True)
            for number in range(kills):
                print(f"killed {restarted(place, number, draws)}: restarted, the same metrics and weights", flush=True)
            torchrun_dies(place)
            print("torchrun killed: no rank stays behind", flush=True)
            missing_ranks(place)
            print("ranks that are missing: an error in time, and no run", flush=True)
        except Failed as failure:
            print(f"FAILED: {failure}", flush=True)
            sys.exit(1)


main()
