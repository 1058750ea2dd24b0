"""What the parts share: the program, the checkpoints, children, and the rows of the table."""

import json
import os
import signal
import subprocess
import threading
import time


class Claim(Exception):
    """Something that should hold does not."""


class World:
    def __init__(self, sandbox, device, tiny, scratch):
        self.sandbox, self.device, self.tiny, self.scratch = sandbox, device, tiny, scratch
        self.on_gpu = device != "cpu"
        self.rows, self.claims, self.children, self.models = [], [], [], {}

    def device_name(self):
        if not self.on_gpu:
            return "cpu"
        import torch
        return torch.cuda.get_device_name()

    def environment(self):
        """Finds libtorch's CUDA part beside Python's torch."""
        if not self.on_gpu:
            return dict(os.environ)
        import torch
        lib = os.path.join(os.path.dirname(torch.__file__), "lib")
        known = os.environ.get("LD_LIBRARY_PATH")
        return os.environ | {"LD_LIBRARY_PATH": f"{lib}:{known}" if known else lib}

    def claim(self, holds, what):
        """Notes a claim; raises if it does not hold."""
        self.claims.append({"what": what, "holds": bool(holds)})
        if not holds:
            raise Claim(f"not so: {what}")

    def row(self, what, unit, graphs=None, plain=None, theirs=None, goal=None):
        """A row of the table. `goal` is `(">=" or "<=", number)`, for a GPU with a model of full size."""
        self.rows.append({"what": what, "unit": unit, "graphs": graphs, "plain": plain, "theirs": theirs,
                          "goal": goal if self.on_gpu and not self.tiny else None})

    def figure(self, what, unit, value, goal=None):
        """A row for something that is measured as it is by default: with graphs on a GPU."""
        self.row(what, unit, **{"graphs" if self.on_gpu else "plain": value}, goal=goal)

    def known(self, what):
        """The row of this name, to which another part adds."""
        return next((row for row in self.rows if row["what"] == what), None)

    def call(self, *args, fails=False):
        """Runs the program and returns its standard output. Raises with its last lines if it fails."""
        child = self.start(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = child.communicate()
        if child.returncode != 0 and not fails:
            last = "\n".join((out + err).strip().splitlines()[-5:])
            raise Claim(f"sandbox {args[0]} exits with {child.returncode}:\n{last}")
        # What the program warns of, such as a missing library, belongs into the log of this run.
        for line in err.splitlines():
            if "without CUDA graphs" in line:
                raise Claim(line.strip())
        return out

    def start(self, args, **streams):
        """Starts the program in a group of its own, which `stop` ends."""
        child = subprocess.Popen([self.sandbox, *map(str, args)], text=True, stdin=subprocess.DEVNULL,
                                 start_new_session=True, env=self.environment(), cwd=self.scratch, **streams)
        self.children.append(child)
        return child

    def stop(self):
        for child in self.children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self.children.clear()

    def bench(self, *args):
        """What `sandbox bench` measured."""
        device = ["--device", self.device, "--dtype", "bf16" if self.on_gpu else "f32"]
        return json.loads(self.call("bench", *device, *args, "--json"))

    def print_table(self):
        heads = ["", "CUDA graphs", "without", "transformers", "goal", ""]
        lines = [heads]
        for row in self.rows:
            found = [number(row[key]) for key in ("graphs", "plain", "theirs")]
            goal, verdict = row["goal"], ""
            if goal:
                side, wanted = goal
                best = row["graphs"] if row["graphs"] is not None else row["plain"]
                reached = best is not None and (best >= wanted if side == ">=" else best <= wanted)
                verdict = "reached" if reached else "missed"
            lines.append([", ".join(filter(None, (row["what"], row["unit"]))), *found, f"{goal[0]} {number(goal[1])}" if goal else "", verdict])
        widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
        print()
        for line in lines:
            print("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                            for column, (cell, width) in enumerate(zip(line, widths))).rstrip())
        print()


class PeakMemory(threading.Thread):
    """The most memory of the device that was taken during a block, in bytes, less what was taken before it."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.peak, self.over = world, 0, threading.Event()

    def used(self):
        import torch
        free, total = torch.cuda.mem_get_info()
        return total - free

    def __enter__(self):
        if self.world.on_gpu:
            self.before = self.used()
            self.start()
        return self

    def run(self):
        while not self.over.wait(0.02):
            self.peak = max(self.peak, self.used() - self.before)

    def __exit__(self, *_):
        self.over.set()


def number(value):
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def until(found, seconds, what):
    """Waits until `found()` is true."""
    end = time.monotonic() + seconds
    while not found():
        if time.monotonic() > end:
            raise Claim(f"{what}: not within {seconds} s")
        time.sleep(0.05)
