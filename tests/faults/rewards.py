"""Plug-ins that die, hang, lie or flood. The arm beside them must not notice."""

import subprocess
import sys

import compare
from case import HERE, Fault, kind
from kills import found, write
from scenario import make

MODES = ["dies", "killed", "hangs", "slow", "too-few", "too-many", "nan", "infinite", "null", "text", "not-json", "other-id",
         "error", "twice", "deep", "flood", "endless-line", "endless-errors", "closes-output", "leaves-child"]

# The trial before the first step scores one batch, with a process of its own.
BESIDE = {"beside": ""}


def arms(mode, after, marker):
    command = [sys.executable, str(HERE / "plugin.py"), mode, str(after), marker]
    reward = f"""rewards.odd = {{ kind = "process", command = {command!r}, timeout_seconds = 1.0 }}
shaping.formula = "accuracy + w_odd * odd"
shaping.weights = {{ odd = 0.5 }}
steps = 5"""
    return BESIDE | {"plugged": reward}


@kind("plugin", quick=4, full=120)
def plugin(case):
    mode, after = MODES[case.number % len(MODES)], case.rng.randint(1, 4)
    marker = f"faults-{case.campaign.seed}-{case.name}-{case.number}"
    case.note(f"{mode} after {after}")
    reference, _ = case.campaign.reference(make(BESIDE))
    process = case.start(write(case, make(arms(mode, after, marker))), "--out", "runs", "--no-control", "--quiet")
    case.faults = 1
    process.end(0, 1)
    run = found(case)
    if run is None:
        raise Fault("wrong_exit", f"nothing was run: {process.output()[-300:]}")
    compare.conserved(run)
    compare.same(reference, run, only={"beside"})
    never_zero(run, mode)
    case.until(lambda: not left_over(marker), 10)
    if left_over(marker):
        raise Fault("left_over", f"processes are left: {left_over(marker)}")


def never_zero(run, mode):
    """A score that was not given is missing, never 0 (REWARD-1)."""
    arm = compare.arms(run).get("plugged/seed-7")
    if arm is None:
        return
    for row in compare.rows(arm / "rollouts.jsonl"):
        score = row.get("components", {}).get("odd")
        if row["phase"] == "train" and score is not None and abs(score - len(row["completion"]) / 100) > 1e-9:
            raise Fault("different", f"{arm}: a score is {score} that nobody gave ({mode})")


def left_over(marker):
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if marker in line and "sandbox" not in line.split()[1]]


@kind("plugin-unusable", quick=1, full=12)
def unusable(case):
    """A plug-in that can't start is one line and exit 2, before anything is written."""
    mode = ["no-hello", "other-protocol", "missing", "not-executable"][case.number % 4]
    case.note(mode)
    text = make(arms(mode, 0, "none")).replace("timeout_seconds = 1.0", "timeout_seconds = 1.0, startup_timeout_seconds = 1.0")
    if mode == "missing":
        text = text.replace(f"'{sys.executable}'", "'/nowhere/plugin'")
    if mode == "not-executable":
        text = text.replace(f"'{sys.executable}', ", "")
        text = text.replace(str(HERE / "plugin.py"), str(case.dir / "scenario.toml"))
    process = case.start(write(case, text), "--out", "runs", "--no-control", "--quiet")
    case.faults = 1
    process.end(2)
    if found(case) is not None or "odd" not in process.output():
        raise Fault("unnamed", f"the reward is not named: {process.output()[-300:]}")
