"""Real runs beside their simulation: python3 -B tests/simulation (make simulation).

Service times are fitted to short runs without staleness, one arm at a time. Other settings are then predicted, run, and compared:

 - `stale`     max_staleness = 2 instead of 0
 - `parallel`  four arms beside each other at one judge instead of one
 - `lora`      an adapter, max_staleness = 1, two seeds beside each other; fitted to half as many steps of one seed

The judge is a scripted server that waits before each reply, so that most of a step is waiting, which other programs on the machine
hardly disturb. SANDBOX names the program. WRITE=FOLDER keeps what was fitted and measured, as tests/fixtures/simulation has it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MOST = 0.15

SCENARIO = """
[run]
name = "timed"
seeds = [3]
steps = 40
device = "cpu"
threads = 1

[data.soundscapes]
train_clips = 24
heldout_clips = 12

[prompt]
style = "think"

[sampling]
group_size = 8
prompts_per_step = 2
max_new_tokens = 48

# So slow that completions stay as they are.
[grpo]
lr = 1e-7

[judge]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
model = "slow"
concurrency = 4
cache.disk = false
cache.max_entries = 1

[rewards]
consistency = {{ kind = "consistency", when_wrong = "always" }}
think = {{ kind = "think" }}

[shaping]
formula = "consistency + think"

[eval]
every = 20
limit = 8
batch_prompts = 8

[checkpoint]
every = 20

[limits]
action = "ignore"

[[arm]]
name = "a"
"""

# Settings of the run that is fitted, of the run that is predicted, and what that changes in the simulation.
HOLDOUTS = {
    "stale": ([], ["--set", "grpo.max_staleness=2"], ["run.max_staleness=2"]),
    "parallel": (
        [],
        ["--seeds", "3..6", "--set", "run.parallel_arms=4"],
        ["run.arms=4", "run.parallel_arms=4"],
    ),
    "lora": (
        ["--set", "policy.train=lora", "--set", "run.steps=20"],
        ["--set", "policy.train=lora", "--set", "grpo.max_staleness=1", "--seeds", "3,4", "--set", "run.parallel_arms=2"],
        ["run.steps=40", "run.max_staleness=1", "run.arms=2", "run.parallel_arms=2"],
    ),
}


class Timing:
    """Runs of one scenario in a folder."""

    def __init__(self, folder, sandbox, port):
        self.folder, self.sandbox = folder, sandbox
        self.scenario = folder / "timed.toml"
        self.scenario.write_text(SCENARIO.format(port=port))
        self.known = {}

    def command(self, *arguments):
        done = subprocess.run([self.sandbox, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode != 0:
            sys.exit(f"sandbox {arguments}: exit code {done.returncode}: {done.stderr}")
        return done.stdout

    def run(self, options):
        """The run directory of the scenario with these options; made once."""
        key = " ".join(options)
        if key not in self.known:
            out = self.folder / f"run-{len(self.known)}"
            self.command(self.scenario, *options, "--out", out, "--no-control", "-q")
            self.known[key] = next(out.iterdir())
        return self.known[key]


def seconds_per_step(run):
    """Wall time of an arm per step, from its start to its end, in the mean over arms."""
    statuses = [json.loads(path.read_text()) for path in run.glob("*/seed-*/status.json")]
    assert statuses and all(status["status"] == "done" for status in statuses), statuses
    return sum(status["wall_seconds"] / status["step"] for status in statuses) / len(statuses)


def staleness(run):
    """The share of steps of each staleness."""
    counts = {}
    for path in run.glob("*/seed-*/metrics.jsonl"):
        for line in path.read_text().splitlines():
            age = json.loads(line)["staleness"]
            counts[age] = counts.get(age, 0) + 1
    return [counts.get(age, 0) / sum(counts.values()) for age in range(max(counts) + 1)]


def main():
    sandbox = os.environ.get("SANDBOX") or shutil.which("sandbox") or sys.exit("set SANDBOX to the program")
    folder = Path(tempfile.mkdtemp(prefix="sandbox-simulation-"))
    judge = subprocess.Popen([sys.executable, "-B", HERE / "judge.py", "0", "0.4"], stdout=subprocess.PIPE, text=True)
    worst = 0.0
    try:
        port = judge.stdout.readline().strip()
        timing = Timing(folder, str(Path(sandbox).resolve()), port)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}")
        for name, (fitted, held_out, changes) in HOLDOUTS.items():
            known = timing.run(fitted)
            inputs = timing.folder / f"{name}.toml"
            inputs.write_text(timing.command("simulate", "--from-run", known, "--dry-run"))
            sets = [word for change in changes for word in ("--set", change)]
            outcome = json.loads(timing.command("simulate", inputs, *sets, "--no-advice", "--json"))["outcome"]
            real = timing.run(held_out)
            measured, predicted = seconds_per_step(real), outcome["seconds_per_step"]
            off = predicted / measured - 1.0
            worst = max(worst, abs(off))
            print(
                f"{name:<9} fitted to {seconds_per_step(known):.3f} s/step; predicted {predicted:.3f}, "
                f"measured {measured:.3f} s/step ({100 * off:+.1f} %); staleness predicted "
                f"{[round(share, 2) for share in outcome['staleness']]}, measured {[round(share, 2) for share in staleness(real)]}"
            )
            if os.environ.get("WRITE"):
                kept = Path(os.environ["WRITE"])
                kept.mkdir(parents=True, exist_ok=True)
                shutil.copy(inputs, kept / f"{name}.toml")
                record = {"set": changes, "seconds_per_step": round(measured, 4), "staleness": staleness(real)}
                (kept / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    finally:
        judge.terminate()
        judge.wait()
        shutil.rmtree(folder, ignore_errors=True)
    if worst > MOST:
        sys.exit(f"a prediction is {100 * worst:.1f} % off, and {100 * MOST:.0f} % are allowed")


main()
