"""kill -9 at random instants: of runs, of runs that are being changed, and of their resumptions."""

import json
import random

import compare
from case import Fault, kind
from control import Changer
from scenario import LIVE, VARIANTS


def write(case, text):
    path = case.dir / "scenario.toml"
    path.write_text(text)
    return path


def found(case, out="runs"):
    return compare.run_dir(case.dir / out)


def begun(run):
    """Whether there is something to resume: a scenario and the folder of an arm."""
    return run is not None and bool(compare.arms(run))


def start(case, path, *more):
    """Starts the scenario, or resumes its run directory if there is one."""
    run = found(case)
    return case.start("--resume", run, *more) if begun(run) else case.start(path, "--out", "runs", *more)


def wait_for_an_instant(case, process, seconds):
    """Waits until a random instant of the run, or until something is being written."""
    how = case.rng.choice(["time", "time", "early", "draft", "row"])
    if how == "time":
        case.until(lambda: not process.alive(), case.rng.uniform(0.02, 1.05) * seconds)
    elif how == "early":
        case.until(lambda: not process.alive(), case.rng.uniform(0, 0.3) * seconds)
    else:
        pattern = "runs/*/*/seed-*/checkpoints/*.draft" if how == "draft" else "runs/*/*/seed-*/*.jsonl"
        before = sizes(case, pattern)
        case.until(lambda: not process.alive() or sizes(case, pattern) != before, 2 * seconds, every=0.0005)


def sizes(case, pattern):
    total = {}
    for path in case.dir.glob(pattern):
        try:
            total[path] = path.stat().st_size
        except OSError:
            pass
    return total


@kind("kill", quick=10, full=150)
def kill(case):
    variant = case.rng.choice(list(VARIANTS))
    reference, seconds = case.campaign.reference(VARIANTS[variant])
    path = write(case, VARIANTS[variant])
    process = start(case, path, "--no-control", "--quiet")
    for _ in range(case.rng.randint(1, 4)):
        wait_for_an_instant(case, process, seconds)
        if not process.kill():
            break
        process = start(case, path, "--no-control", "--quiet")
    process.end(0)
    case.faults = max(case.kills, 1)
    case.note(f"{variant}, {case.kills} kills")
    compare.same(reference, found(case))


@kind("kill-changed", quick=4, full=60)
def kill_changed(case):
    """Changes and kills at once. The unbroken run is the replay of the journal."""
    _, seconds = case.campaign.reference(LIVE)
    path = write(case, LIVE)
    process = start(case, path, "--quiet")
    changer = changing(case)
    for _ in range(case.rng.randint(1, 3)):
        wait_for_an_instant(case, process, 2 * seconds)
        if not process.kill():
            break
        process = start(case, path, "--quiet")
    process.end(0, 1)
    changer.stop()
    case.faults = case.kills + len(changer.acknowledged)
    same_as_its_replay(case, [changer], process.process.returncode)


def changing(case, **pace):
    rng = random.Random(case.rng.random())
    return Changer(rng, case.dir, lambda: found(case), ["grpo", "other"], **pace)


def same_as_its_replay(case, changers, code):
    """The journal has every acknowledged change once, and its replay makes the same run."""
    run = found(case)
    acknowledged = [change for changer in changers for change in changer.acknowledged]
    case.note(f"{case.kills} kills, {len(acknowledged)} changes, {sum(each.refused for each in changers)} refused")
    journal = [entry for entry in compare.rows(run / "control.jsonl") if entry.get("change") is not None]
    made = [(entry["arm"], entry["version"], entry["step"]) for entry in journal]
    for change in set(made):
        if made.count(change) > 1:
            raise Fault("doubled", f"{run}/control.jsonl: {change} twice")
    for change in acknowledged:
        if change not in made:
            raise Fault("lost", f"{run}/control.jsonl: {change} was acknowledged and is not there")
    if code != 0:
        raise Fault("wrong_exit", f"exit {code}: {json.dumps([compare.status(arm) for arm in compare.arms(run).values()])[:300]}")
    case.run("replay", run, "--out", "replays", "--quiet")
    compare.same(found(case, "replays"), run)
