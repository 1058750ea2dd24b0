"""A run of a policy that is steered while it goes on: a weight is changed, and a reward is swapped for a Python file."""

import json
import subprocess
from pathlib import Path

from world import until

ROOT = Path(__file__).resolve().parents[2]

SCENARIO = """[run]
name = "live"
seeds = [7]
steps = {steps}
device = "{device}"

[policy]
path = {path}
train = "lora"

[data.soundscapes]
train_clips = 16
heldout_clips = 4

[sampling]
group_size = 8
prompts_per_step = 2
max_new_tokens = {tokens}

[rewards]
accuracy = {{ kind = "accuracy" }}
format = {{ kind = "format" }}

[shaping]
formula = "accuracy + w_format * format"
weights = {{ format = 0.5 }}

[eval]
every = 0
at_start = false
limit = 2

[checkpoint]
every = 1000

[limits]
action = "ignore"

[[arm]]
name = "grpo"
"""


def live(world, policy):
    steps, tokens = (8, 24) if world.tiny else (7, 256)
    scenario, out = world.scratch / "live.toml", world.scratch / "live"
    scenario.write_text(SCENARIO.format(steps=steps, tokens=tokens, device=world.device, path=json.dumps(str(policy))))
    with open(world.scratch / "live.log", "w") as log:
        child = world.start([scenario, "--out", out], stdout=log, stderr=log)
    said = lambda: (world.scratch / "live.log").read_text()[-2000:]
    ended = lambda: child.poll() is not None
    arm = lambda: next(iter(out.glob("*/grpo/seed-7")), Path("/nowhere"))

    def rows(name):
        file = arm() / name
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    until(lambda: rows("metrics.jsonl") or ended(), 80, "the first step of the live run")
    world.claim(not ended(), f"the live run goes on:\n{said()}")
    run = arm().parents[1]
    # The run stops before its next step while it is changed, so that it can't be over before.
    world.call("ctl", "weights", "format=0.25", "--run", run)
    until(lambda: len(rows("metrics.jsonl")) >= 3 or ended(), 60, "the third step")
    world.call("ctl", "swap", "format", ROOT / "examples/rewards/brevity.py", "--run", run)
    try:
        child.wait(80)
    except subprocess.TimeoutExpired:
        world.claim(False, f"the live run ends within 80 s:\n{said()}")
    world.claim(child.returncode == 0, f"the live run ends well:\n{said()}")
    metrics = rows("metrics.jsonl")
    world.claim(len(metrics) == steps, f"the live run took {steps} steps")
    journal = [json.loads(line) for line in (run / "control.jsonl").read_text().splitlines()]
    written = json.dumps(journal)
    world.claim("0.25" in written and "brevity" in written, "the journal has the change of the weight and the swap")
    versions = [row["weights_version"] for row in metrics]
    world.claim(versions[-1] != versions[0], f"the changes took effect: the conditions' versions are {versions}")
    timed = [row for row in metrics[1:] if row.get("step_seconds")]
    best = min(timed, key=lambda row: row["step_seconds"])
    slower = [line for line in (run / "run.log").read_text().splitlines() if "without CUDA graphs" in line]
    world.claim(not slower, f"the live run decodes by graphs: {slower[:1]}")
    world.figure("live run 2 x 8 x 256: step", "s", best["step_seconds"], goal=("<=", 1.6))
    for part in ("sample_seconds", "optimize_seconds"):
        world.figure(f"live run: {part.removesuffix('_seconds')}", "s", best.get(part))
