"""Disks that are full, read-only, or gone, and files that somebody else changes while a run goes on."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import compare
from case import Fault, Skip, kind
from kills import begun, found, wait_for_an_instant, write
from scenario import VARIANTS
from signals import all_done, finish


def mount(*arguments):
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skip(f"mount is not possible here: {last(done.stderr)}")


def last(text):
    return (text.strip().splitlines() or ["no reason given"])[-1]


@contextmanager
def small_disk(case, size):
    """A file system in memory of `size` bytes at `runs`."""
    place = case.dir / "runs"
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", place)
    try:
        yield place
    finally:
        unmount(place)


def unmount(place):
    if subprocess.run(["umount", str(place)], capture_output=True).returncode != 0:
        subprocess.run(["umount", "-l", str(place)], capture_output=True)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def begin(case):
    variant = case.rng.choice(list(VARIANTS))
    reference, seconds = case.campaign.reference(VARIANTS[variant])
    case.note(variant)
    return write(case, VARIANTS[variant]), reference, seconds


def failed_by_name(process, *names):
    """Exit 1, and a message that names one of these; 2 if the run had not begun."""
    code = process.end(1, 2)
    said = [line for line in process.output().splitlines() if line.startswith("error:")]
    if not any(name in line for name in names for line in said):
        raise Fault("unnamed", f"exit {code}, no error line names {' or '.join(names)}: {process.output()[-300:]}")


@kind("disk-full", quick=3, full=40)
def disk_full(case):
    path, reference, _ = begin(case)
    size = int(case.rng.uniform(0.02, 0.95) * size_of(reference)) // 4096 * 4096 + 4096
    with small_disk(case, size) as place:
        process = case.start(path, "--out", "runs", "--no-control", "--quiet")
        case.faults = 1
        code = process.end()
        if code == 0:
            case.note("it had room enough")
        else:
            failed_by_name(process, "No space left", "disk is full", "os error 28")
        subprocess.run(["mount", "-o", "remount,size=512m", str(place)], check=True)
        if code == 0 or begun(found(case)):
            finish(case, reference)


def make_read_only(case, place):
    """Makes a mount read-only, between two writes: while a file on it is open for writing, the kernel refuses."""
    command = ["mount", "-o", "remount,bind,ro", str(place)]
    case.until(lambda: subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0)


@kind("disk-read-only", quick=2, full=25)
def read_only(case):
    """The run directory becomes read-only: a read-only mount is put over it."""
    path, reference, seconds = begin(case)
    process = case.start(path, "--out", "runs", "--no-control", "--quiet")
    case.until(lambda: begun(found(case)) or not process.alive())
    case.pause(0, 0.35 * seconds)
    run = found(case)
    mount("--bind", run, run)
    try:
        make_read_only(case, run)
        was_done = not process.alive() or all_done(run)
        case.faults = int(not was_done)
        if was_done:
            process.end(0, 1)
        else:
            failed_by_name(process, "Read-only", "read-only", "os error 30", "Permission denied")
    finally:
        unmount(run)
    finish(case, reference)


@kind("directory-removed", quick=2, full=25)
def removed(case):
    """The run directory is removed or renamed: the run must not end as if all were well."""
    path, reference, seconds = begin(case)
    process = case.start(path, "--out", "runs", "--no-control", "--quiet")
    case.until(lambda: begun(found(case)) or not process.alive())
    case.pause(0, 0.35 * seconds)
    run, aside = found(case), case.dir / "aside"
    was_done = not process.alive() or all_done(run)
    how = case.rng.choice(["removed", "renamed", "arm"])
    case.note(how)
    case.faults = int(not was_done)
    if how == "renamed":
        run.rename(aside)
    else:
        gone = run if how == "removed" else case.rng.choice(list(compare.arms(run).values()))
        gone.rename(aside)
    if was_done:
        process.end(0, 1)
    elif process.end() == 0:
        raise Fault("silent", f"exit 0 although the directory was {how}")
    else:
        failed_by_name(process, "runs/")
    if how == "renamed":
        shutil.rmtree(run, ignore_errors=True)
        aside.rename(run)
        finish(case, reference)


@kind("records-truncated", quick=2, full=25)
def truncated(case):
    """Somebody truncates a record file of a running arm: noticed, and nothing is doubled afterwards."""
    path, reference, seconds = begin(case)
    process = case.start(path, "--out", "runs", "--no-control", "--quiet")
    rows = lambda: [file for file in case.dir.glob("runs/*/*/seed-*/*.jsonl") if file.stat().st_size > 400]
    case.until(lambda: rows() or not process.alive())
    case.pause(0, 0.35 * seconds)
    run = found(case)
    victim = case.rng.choice(rows())
    # Nobody writes to an arm at its end: then it is found by `verify`, and by the next resumption.
    taken, total = steps_of(victim.parent)
    was_done = not process.alive() or taken + 1 >= total
    os.truncate(victim, case.rng.randrange(victim.stat().st_size))
    case.note(f"{victim.name} after {taken} of {total} steps")
    case.faults = int(not was_done)
    code = process.end(0, 1)
    if code == 0 and not was_done:
        raise Fault("silent", f"exit 0 although {victim.name} was truncated")
    repaired(case, run, reference)


def steps_of(arm):
    """The steps that an arm has recorded, and those it will take."""
    metrics = arm / "metrics.jsonl"
    taken = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
    return taken, compare.status(arm).get("total_steps", 0)


@kind("checkpoint-replaced", quick=2, full=20)
def replaced(case):
    """A file of the newest checkpoint is overwritten while the run goes on: it is never used in silence."""
    path, reference, seconds = begin(case)
    process = case.start(path, "--out", "runs", "--no-control", "--quiet")
    files = lambda: list(case.dir.glob("runs/*/*/seed-*/checkpoints/step-??????/*.safetensors"))
    case.until(lambda: files() or not process.alive())
    case.pause(0, 0.3 * seconds)
    victim = case.rng.choice(files())
    with open(victim, "r+b") as file:
        file.seek(case.rng.randrange(victim.stat().st_size))
        file.write(b"\xaa\x55")
    case.note(f"{victim.parent.name}/{victim.name}")
    case.faults = 1
    if not (case.rng.random() < 0.7 and process.kill()):
        process.end(0, 1)
    repaired(case, found(case), reference)


def repaired(case, run, reference):
    """Resumes; if that is refused, repairs. Either way the end is the unbroken run's."""
    process = case.start("--resume", run, "--no-control", "--quiet")
    if process.end(0, 2) == 2:
        if not any(name in process.output() for name in (".jsonl", "checkpoints", "state.json", "manifest")):
            raise Fault("unnamed", f"the refusal names no file: {process.output()[-300:]}")
        case.start("--resume", run, "--repair", "--no-control", "--quiet").end(0)
    compare.same(reference, run)
