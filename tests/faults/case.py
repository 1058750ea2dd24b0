"""What a case of the campaign is, and what it is given."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import compare

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# Messages of a crash. None of them may reach a user.
CRASHES = ("panicked at", "stack backtrace", "SIGSEGV", "core dumped", "terminate called")


class Fault(Exception):
    """A promise is broken: `outcome` is one word for the table, the message says how."""

    def __init__(self, outcome, detail):
        super().__init__(detail)
        self.outcome = outcome


class Skip(Exception):
    """The case can't be made here, for example without root."""


class Kind:
    """A kind of fault: the function that makes a case of it, and how many are made."""

    def __init__(self, name, make, quick, full):
        self.name, self.make, self.quick, self.full = name, make, quick, full


KINDS = {}


def kind(name, quick, full):
    """Registers a function as a kind. It raises Fault or Skip, or returns when all is well."""

    def register(make):
        KINDS[name] = Kind(name, make, quick, full)
        return make

    return register


class Process:
    """A started `sandbox`. Its output goes to a file, so that it never waits for a reader."""

    def __init__(self, case, arguments, stdout=None, preexec=None):
        self.case = case
        self.number = case.started = case.started + 1
        self.log = case.dir / f"output-{self.number}.txt"
        with open(self.log, "wb") as log:
            out = log if stdout is None else stdout
            self.process = subprocess.Popen(
                [str(case.campaign.binary), *map(str, arguments)], cwd=case.dir, env=case.environment(),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, preexec_fn=preexec)
        self.begin = time.monotonic()
        case.campaign.children.add(self.process)

    def output(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def send(self, number):
        """Sends a signal; whether the process was still there."""
        if not self.alive():
            return False
        self.process.send_signal(number)
        return True

    def kill(self):
        """Kills it and waits until it is gone; whether it was still running."""
        was_alive = self.send(signal.SIGKILL)
        self.process.wait()
        self.case.campaign.children.discard(self.process)
        self.case.kills += was_alive
        return was_alive and self.process.returncode == -signal.SIGKILL

    def end(self, *expected, limit=None):
        """Waits for the end. The exit code must be one of `expected`, and nothing may have crashed."""
        limit = limit or self.case.campaign.limit
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            stacks = subprocess.run(["cat", f"/proc/{self.process.pid}/wchan"], capture_output=True).stdout
            self.kill()
            raise Fault("hung", f"not done after {limit:.0f} s ({stacks.decode(errors='replace')})") from None
        self.case.campaign.children.discard(self.process)
        output = self.output()
        crash = next((line for line in output.splitlines() if any(sign in line for sign in CRASHES)), None)
        if code < 0 and code not in expected or code in (101, 134, 139):
            raise Fault("crashed", f"exit {code}: {crash or last_line(output)}")
        if crash:
            raise Fault("crashed", f"exit {code}: {crash}")
        if expected and code not in expected:
            wanted = " or ".join(map(str, expected))
            raise Fault("wrong_exit", f"exit {code}, not {wanted}: {last_line(output)}")
        return code


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


class Case:
    """One case: its folder, its random numbers, and what it counts."""

    def __init__(self, campaign, name, number):
        self.campaign, self.name, self.number = campaign, name, number
        self.rng = random.Random(f"{campaign.seed}/{name}/{number}")
        self.dir = campaign.work / f"{name}-{number}"
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        self.started = self.kills = self.faults = 0
        self.notes = []

    def environment(self):
        """One thread, so that sums are added in one order; a cache that the cases share, because it only holds sounds."""
        return dict(os.environ, OMP_NUM_THREADS="1", AUDIO_THINKER_CACHE=str(self.campaign.cache), RUST_BACKTRACE="0",
                    RUST_LOG="info")

    def note(self, text):
        self.notes.append(text)

    def start(self, *arguments, **options):
        return Process(self, arguments, **options)

    def run(self, *arguments, expected=(0,), limit=None):
        """Runs a command to its end and returns its output."""
        process = self.start(*arguments)
        process.code = process.end(*expected, limit=limit)
        return process

    def pause(self, least, most):
        """Waits for a random time."""
        time.sleep(self.rng.uniform(least, most))

    def until(self, condition, limit=60, every=0.005):
        """Polls until the condition holds; whether it did in time."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(every)
        return False


class Campaign:
    """Everything that the cases share."""

    def __init__(self, binary, out, seed, quick):
        self.binary, self.out, self.seed, self.quick = Path(binary).resolve(), Path(out).resolve(), seed, quick
        self.work, self.cache = self.out / "work", self.out / "cache"
        self.children, self.limit = set(), 120.0
        self.references, self.lock = {}, threading.Lock()
        self.bases = {}

    def reference(self, text):
        """The unbroken run of a scenario, made once: its directory, and how long it took."""
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        with self.lock:
            own = self.references.setdefault(key, [threading.Lock(), None])
        with own[0]:
            if own[1] is None:
                case = Case(self, "reference", key)
                path = case.dir / "scenario.toml"
                path.write_text(text)
                begin = time.monotonic()
                case.run(path, "--out", case.dir / "runs", "--no-control", "--quiet", limit=600)
                own[1] = (compare.run_dir(case.dir / "runs"), time.monotonic() - begin)
            return own[1]
