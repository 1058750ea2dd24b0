"""Damaged files of an interrupted run: one byte, a line, an end, a whole file."""

import json
import os
import shutil
import signal

import compare
from case import Case, Fault, kind
from control import contact, request
from kills import found
from scenario import DAMAGED

# What a checksum covers, so that `verify` must find any change of it. The other files are checked as far as they go.
RECORDS = ("metrics", "rollouts", "eval")
COVERED = (*RECORDS, "tensors", "state", "manifest")


def base(campaign):
    """A run with a change in its journal that was interrupted in the middle, and how it ends without any damage."""
    with campaign.lock:
        if "damage" not in campaign.bases:
            case = Case(campaign, "damage-base", 0)
            (case.dir / "scenario.toml").write_text(DAMAGED)
            process = case.start("scenario.toml", "--out", "runs", "--quiet")
            case.until(lambda: found(case) and contact(found(case)), 60)
            run = found(case)
            if request(contact(run), "PUT", "/arms/grpo/7/weights", {"think": 0.7}) is None:
                raise Fault("setup", f"the change was not made: {process.output()[-300:]}")
            arm = run / "grpo/seed-7"
            rows = arm / "metrics.jsonl"
            case.until(lambda: rows.exists() and rows.read_bytes().count(b"\n") >= 5 or not process.alive(), 60)
            process.send(signal.SIGINT)
            process.end(130)
            whole = case.dir / "whole"
            shutil.copytree(run, whole)
            case.run("--resume", whole, "--no-control", "--quiet")
            case.run("replay", whole, "--out", "replays", "--quiet")
            compare.same(found(case, "replays"), whole)
            campaign.bases["damage"] = (run, whole)
        return campaign.bases["damage"]


def files(run):
    """The files of the run by what they are."""
    arm = run / "grpo/seed-7"
    newest = compare.newest_checkpoint(arm)
    found = {
        "metrics": [arm / "metrics.jsonl"],
        "rollouts": [arm / "rollouts.jsonl"],
        "eval": [arm / "eval.jsonl"],
        "status": [arm / "status.json"],
        "journal": [run / "control.jsonl"],
        "tensors": sorted(newest.glob("*.safetensors")),
        "state": [newest / "state.json"],
        "manifest": sorted(path for path in newest.iterdir() if "manifest" in path.name),
    }
    return {name: paths for name, paths in found.items() if paths}


def damage(rng, path):
    """Damages the file; in words, how, and whether what was there is still at its place."""
    before = path.read_bytes()
    content = bytearray(before)
    how = rng.choice(["bit", "bit", "byte", "truncated", "line removed", "line doubled", "zeroes", "removed", "appended"])
    at = rng.randrange(len(content))
    lines = content.split(b"\n")
    if how.startswith("line") and len(lines) < 3:
        how = "bit"
    line = rng.randrange(max(len(lines) - 1, 1))
    if how == "bit":
        content[at] ^= 1 << rng.randrange(8)
    elif how == "byte":
        content[at] = (content[at] + rng.randrange(1, 256)) % 256
    elif how == "truncated":
        del content[at:]
    elif how == "line removed":
        content = bytearray(b"\n".join(lines[:line] + lines[line + 1:]))
    elif how == "line doubled":
        content = bytearray(b"\n".join(lines[:line + 1] + lines[line:]))
    elif how == "zeroes":
        end = min(at + rng.randrange(1, 5000), len(content))
        content[at:end] = bytes([255]) if not any(content[at:end]) else bytes(end - at)
    elif how == "appended":
        content += bytes(rng.randrange(1, 256) for _ in range(rng.randrange(1, 200)))
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(content)
    return f"{how} at {at} of {path.name}", content.startswith(before) and how != "removed"


def copy(case):
    run, whole = base(case.campaign)
    target = case.dir / "run"
    shutil.copytree(run, target, copy_function=link_or_copy)
    return target, whole


def link_or_copy(source, target):
    """Tensors are linked, because they are most of the bytes; `unshare` copies the one that is damaged."""
    if source.endswith(".safetensors"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def unshare(path):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def damaged(case):
    run, whole = copy(case)
    what = case.rng.choice(sorted(files(run)))
    path = case.rng.choice(files(run)[what])
    unshare(path)
    words, only_added = damage(case.rng, path)
    case.note(words)
    case.faults = 1
    # What follows a checkpoint's records is cut off by every resumption, so it need not be found.
    covered = what in COVERED and not (only_added and what in RECORDS)
    return run, whole, what, path, covered


@kind("damage-verify", quick=12, full=450)
def verified(case):
    run, _, _, path, covered = damaged(case)
    before = fingerprint(run)
    process = case.start("verify", run, *case.rng.choice([[], ["--json"]]))
    code = process.end(0, 1)
    if code == 0 and covered:
        raise Fault("not_found", f"verify finds nothing: {case.notes[0]}")
    if code == 1 and path.name not in process.output():
        raise Fault("unnamed", f"verify does not name {path.name}: {process.output()[-300:]}")
    if fingerprint(run) != before:
        raise Fault("changed", "verify changed the directory")


def fingerprint(run):
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(run.rglob("*"))
            if path.is_file() and path.name != "lock"}


@kind("verify-whole", quick=2, full=50)
def whole(case):
    """A directory without damage: interrupted or ended, verify has nothing to say."""
    interrupted, ended = base(case.campaign)
    output = case.run("verify", case.rng.choice([interrupted, ended]), "--json").output()
    case.faults = 0
    try:
        json.loads(output)
    except ValueError:
        raise Fault("wrong_output", f"verify --json prints no JSON: {output[-200:]}") from None


@kind("damage-resume", quick=6, full=120)
def resumed(case):
    """A resumption is refused with the file's name, or the damage did not matter; a repair ends as without damage."""
    run, whole, what, path, covered = damaged(case)
    process = case.start("--resume", run, "--no-control", "--quiet")
    code = process.end(0, 2)
    if code == 0:
        if covered:
            raise Fault("silent", f"resumed in spite of {case.notes[0]}")
        return compare.same(whole, run)
    if path.name not in process.output():
        raise Fault("unnamed", f"the refusal does not name {path.name}: {process.output()[-300:]}")
    if what == "journal":
        return None
    kept = path.read_bytes() if path.exists() else b""
    process = case.start("--resume", run, "--repair", "--no-control", "--quiet")
    process.end(0)
    if what in RECORDS and kept and not path.with_name(f"{path.name}.damaged").exists():
        raise Fault("lost", f"no {path.name}.damaged beside the repaired file")
    return compare.same(whole, run)
