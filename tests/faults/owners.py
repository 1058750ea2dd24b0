"""Two owners of a run directory, and locks that nobody holds."""

import socket
import time

import compare
from case import Fault, kind
from kills import begun, found, write
from scenario import VARIANTS
from signals import begin, finish


def refused(case, process, holder):
    """Refused with exit 2, and the message names who holds the directory."""
    process.end(2)
    if holder is not None and str(holder) not in process.output():
        raise Fault("unnamed", f"the refusal does not name process {holder}: {process.output()[-300:]}")


@kind("run-and-resume", quick=2, full=40)
def run_and_resume(case):
    process, reference, seconds = begin(case, "--no-control", "--quiet")
    case.until(lambda: begun(found(case)) or not process.alive())
    case.pause(0, 0.3 * seconds)
    second = case.start("--resume", found(case), "--no-control", "--quiet")
    case.faults = 1
    holder = process.process.pid
    code = second.end(0, 2)
    if process.alive() or code == 2:
        refused(case, second, holder)
    process.end(0)
    compare.same(reference, found(case))


@kind("two-resumes", quick=3, full=50)
def two_resumes(case):
    """Two resumptions at the same time: one is refused, or begins after the other."""
    process, reference, seconds = begin(case, "--no-control", "--quiet")
    case.until(lambda: begun(found(case)) or not process.alive())
    case.pause(0, 0.5 * seconds)
    process.kill()
    both = []
    for _ in range(case.rng.randint(2, 3)):
        both.append(case.start("--resume", found(case), "--no-control", "--quiet"))
        case.pause(0, case.rng.choice([0, 0.02, 0.3]))
    case.faults = len(both) - 1
    codes = [each.end(0, 2) for each in both]
    if codes.count(0) == 0:
        raise Fault("wrong_exit", f"all {len(both)} were refused: {both[0].output()[-200:]}")
    pids = [str(each.process.pid) for each in both]
    for code, each in zip(codes, both):
        if code == 2 and not any(pid in each.output() for pid in pids if pid != str(each.process.pid)):
            raise Fault("unnamed", f"the refusal names no process: {each.output()[-300:]}")
    compare.same(reference, found(case))


@kind("replay-and-resume", quick=1, full=20)
def replay_and_resume(case):
    """A replay owns the directory that it makes, and only reads the one that it repeats."""
    process, reference, _ = begin(case, "--no-control", "--quiet", variants=["full", "two", "lora"])
    process.end(0)
    replay = case.start("replay", found(case), "--out", "replays", "--quiet")
    case.until(lambda: begun(found(case, "replays")) or not replay.alive())
    second = case.start("--resume", found(case, "replays"), "--no-control", "--quiet")
    case.faults = 1
    code = second.end(0, 2)
    if replay.alive() or code == 2:
        refused(case, second, replay.process.pid)
    replay.end(0)
    compare.same(reference, found(case, "replays"))


LOCKS = {
    "empty": b"",
    "rubbish": b"\x00\xff\xfe lock",
    "huge": b"1" * 100_000,
    "dead process": f"host {socket.gethostname()}\npid 4194000\nstarted 2020-01-01T00:00:00Z\n".encode(),
    "json": b'{"host": "elsewhere", "pid": 1, "started": "2020-01-01T00:00:00Z"}',
}


@kind("stale-lock", quick=3, full=40)
def stale_lock(case):
    """A lock that nobody holds any more is taken over, whatever is in it."""
    process, reference, seconds = begin(case, "--no-control", "--quiet")
    case.until(lambda: begun(found(case)) or not process.alive())
    case.pause(0, 0.5 * seconds)
    process.kill()
    case.faults = 1
    lock, what = found(case) / "lock", case.rng.choice(["as it was", *LOCKS])
    case.note(what)
    if what != "as it was":
        lock.write_bytes(LOCKS[what])
    finish(case, reference)


@kind("lock-is-a-folder", quick=1, full=5)
def folder(case):
    """A lock that can't be made is one line and exit 2."""
    write(case, VARIANTS["full"])
    process, _, seconds = begin(case, "--no-control", "--quiet")
    case.until(lambda: begun(found(case)) or not process.alive())
    case.pause(0, 0.3 * seconds)
    process.kill()
    lock = found(case) / "lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    case.faults = 1
    process = case.start("--resume", found(case), "--no-control", "--quiet")
    process.end(2)
    if "lock" not in process.output():
        raise Fault("unnamed", f"the refusal does not name the lock: {process.output()[-300:]}")


@kind("readers", quick=1, full=20)
def readers(case):
    """Reports and verifications of a run in progress need no lock and change nothing."""
    process, reference, _ = begin(case, "--no-control", "--quiet")
    case.until(lambda: begun(found(case)) or not process.alive())
    while process.alive():
        case.start("report", found(case)).end(0, 1, 2)
        case.faults += 1
        time.sleep(0.05)
    process.end(0)
    compare.same(reference, found(case))
