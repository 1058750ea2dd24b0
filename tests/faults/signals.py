"""Signals, closed terminals and closed pipes."""

import fcntl
import os
import signal
import termios

import compare
from case import Fault, kind
from kills import begun, found, start, wait_for_an_instant, write
from scenario import VARIANTS

STOPPED = 130


def stopped(case, process, number, reference):
    """Waits for the end after a signal. Before there is a run directory, a signal may end the process as it is."""
    early = (-number,) if not begun(found(case)) else ()
    process.end(STOPPED, 0, *early)
    finish(case, reference)


def finish(case, reference, path=None):
    """Resumes to the end, and compares with the unbroken run."""
    start(case, path or case.dir / "scenario.toml", "--no-control", "--quiet").end(0)
    compare.same(reference, found(case))


def begin(case, *more, variants=tuple(VARIANTS), **options):
    variant = case.rng.choice(variants)
    reference, seconds = case.campaign.reference(VARIANTS[variant])
    process = case.start(write(case, VARIANTS[variant]), "--out", "runs", *more, **options)
    case.note(variant)
    return process, reference, seconds


def register(name, number):
    @kind(f"signal-{name}", quick=1, full=20)
    def signalled(case):
        process, reference, seconds = begin(case, *case.rng.choice([["--quiet"], ["--no-control"], []]))
        wait_for_an_instant(case, process, seconds)
        case.faults = int(process.send(number))
        stopped(case, process, number, reference)


for name, number in [("int", signal.SIGINT), ("term", signal.SIGTERM), ("hup", signal.SIGHUP)]:
    register(name, number)


@kind("signal-quit", quick=1, full=15)
def quit_signal(case):
    """SIGQUIT asks for a core dump, so it may also end the process at once, as a kill does."""
    process, reference, seconds = begin(case, "--quiet")
    wait_for_an_instant(case, process, seconds)
    case.faults = int(process.send(signal.SIGQUIT))
    process.end(STOPPED, 0, -signal.SIGQUIT)
    finish(case, reference)


@kind("signal-twice", quick=3, full=50)
def twice(case):
    """A second Ctrl-C, from at once to during the teardown: 130, and nothing is lost."""
    process, reference, seconds = begin(case, "--quiet")
    case.until(lambda: begun(found(case)) or not process.alive())
    wait_for_an_instant(case, process, seconds)
    for _ in range(case.rng.randint(2, 4)):
        case.faults += process.send(case.rng.choice([signal.SIGINT, signal.SIGINT, signal.SIGTERM]))
        case.pause(0, case.rng.choice([0.005, 0.05, 0.4]))
    process.end(STOPPED, 0)
    finish(case, reference)


@kind("signal-at-the-end", quick=2, full=30)
def at_the_end(case):
    """Ctrl-C when every arm is done and the report is written."""
    process, reference, _ = begin(case, "--quiet")
    case.until(lambda: not process.alive() or all_done(found(case)), every=0.001)
    case.pause(0, 0.2)
    for _ in range(case.rng.randint(1, 3)):
        case.faults += process.send(signal.SIGINT)
        case.pause(0, 0.02)
    process.end(STOPPED, 0)
    finish(case, reference)


def all_done(run):
    states = [compare.status(arm).get("status") for arm in compare.arms(run).values()] if run else []
    return bool(states) and all(state == "done" for state in states)


@kind("pipe-closed", quick=2, full=25)
def pipe_closed(case):
    """The reader of its output goes away: `sandbox … | head`. It may go on or stop, but loses nothing."""
    read, write_end = os.pipe()
    process, reference, seconds = begin(case, *case.rng.choice([["--quiet"], []]), stdout=write_end)
    os.close(write_end)
    if case.rng.random() < 0.5:
        case.pause(0, seconds)
    os.close(read)
    case.faults = 1
    code = process.end(0, 1, STOPPED)
    run = found(case)
    log = (run / "run.log").read_text(errors="replace") if run and (run / "run.log").exists() else ""
    if "panicked at" in log:
        raise Fault("crashed", f"exit {code}: a panic in run.log")
    finish(case, reference)


@kind("terminal-closed", quick=1, full=15)
def terminal_closed(case):
    """The terminal is closed, which sends SIGHUP and makes its output fail."""
    master, slave = os.openpty()

    def own_terminal():
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process, reference, seconds = begin(case, stdout=slave, preexec=own_terminal)
    os.close(slave)
    end = case.rng.uniform(0.1, 1) * seconds
    case.until(lambda: not process.alive() or drain(master), end)
    case.faults = int(process.alive())
    os.close(master)
    early = (-signal.SIGHUP,) if not begun(found(case)) else ()
    process.end(STOPPED, 0, *early)
    finish(case, reference)


def drain(master):
    """Reads what the terminal shows, so that the process never waits; always false."""
    os.set_blocking(master, False)
    try:
        os.read(master, 1 << 16)
    except OSError:
        pass
    return False
