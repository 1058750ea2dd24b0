"""Tries the sandbox with a real vLLM for CPUs; README.md describes it. Prints its figures as a table, and exits with 1 at the
first claim that does not hold.

    run.py SANDBOX PROGRAMS [part …]    parts: audio slices omni canary; all by default
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / "target/vllm"
STEPS = 20
# Longest waits, in seconds.
START, RUN = 900, 1800


def main():
    sandbox, programs = sys.argv[1:3]
    parts = sys.argv[3:] or ["audio", "slices", "omni", "canary"]
    WORK.mkdir(parents=True, exist_ok=True)
    python = Path(programs) / "python"
    subprocess.run([python, HERE / "checkpoints.py", WORK / "checkpoints"], check=True, capture_output=True)
    world = World(sandbox, programs)
    rows = []
    try:
        for part in parts:
            rows += PARTS[part](world)
    finally:
        world.stop()
    print("\n| what | found |\n|---|---|")
    for what, found in rows:
        print(f"| {what} | {found} |")


class World:
    def __init__(self, sandbox, programs):
        self.sandbox, self.programs, self.children = sandbox, programs, []

    def serve(self, checkpoint, port):
        log = open(WORK / f"server-{port}.log", "a")
        child = subprocess.Popen([HERE / "serve", self.programs, WORK / "checkpoints" / checkpoint, str(port)],
                                 stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.children.append(child)
        wait(lambda: answers(port) or child.poll() is not None, START, f"the server of {checkpoint}")
        claim(child.poll() is None, f"vLLM serves {checkpoint}; see {log.name}")
        return child

    def start(self, name, policy, port, *settings):
        """Starts a run in the background."""
        restart = f"setsid {HERE / 'serve'} {self.programs} {policy_folder(policy)} {port} >> {WORK}/server-{port}.log 2>&1 & echo started"
        sets = [f"policy.path={json.dumps(str(policy_folder(policy)))}", f"sampler.urls=[\"http://127.0.0.1:{port}\"]",
                f"sampler.restart={json.dumps(restart)}", *settings]
        args = [self.sandbox, HERE / "scenario.toml", "--out", WORK / name]
        return self.launch(name, args + [part for setting in sets for part in ("--set", setting)])

    def launch(self, name, args):
        log = open(WORK / f"{name}.log", "a")
        child = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.children.append(child)
        return child

    def ctl(self, name, *args):
        subprocess.run([self.sandbox, "ctl", *args, "--run", WORK / name], check=True, capture_output=True, timeout=RUN)

    def stop(self):
        for child in self.children:
            end(child)


def policy_folder(policy):
    return WORK / "checkpoints" / policy


def end(child):
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def audio(world):
    """Qwen2-Audio: 20 steps with a live change, a swap, a killed server and a killed sandbox."""
    port = free_port()
    server = world.serve("qwen2_audio", port)
    fresh("audio")
    child = world.start("audio", "qwen2_audio", port)
    run = arm("audio")
    reach(run, child, 3)
    world.ctl("audio", "weights", "letters=2")
    reach(run, child, 6)
    world.ctl("audio", "swap", "letters", str(HERE / "swapped.toml"))
    reach(run, child, 9)
    end(server)
    reach(run, child, 13)
    end(child)
    child = world.launch("audio", [world.sandbox, "--resume", folder("audio")])
    wait(lambda: child.poll() is not None, RUN, "the resumed run")
    claim(child.returncode == 0, f"the resumed run ends well; see {WORK}/audio.log")
    figures = whole(run)
    journal = [json.loads(line) for line in (folder("audio") / "control.jsonl").read_text().splitlines()]
    notes = [entry["note"] for entry in journal if entry["action"] == "server"]
    claim(any("was restarted" in note for note in notes), f"the journal has the restart: {notes}")
    claim(sum(entry["action"] == "change" for entry in journal) >= 2, "the journal has both changes")
    kill_on(port)
    return [(f"Qwen2-Audio, {what}", found) for what, found in figures]


def slices(world):
    """Qwen2-Audio in slices of 4 tokens that take up every new version. The weights hardly change, so that the log-probabilities of
    all versions can be compared with the learner's."""
    port = free_port()
    server = world.serve("qwen2_audio", port)
    fresh("slices")
    child = world.start("slices", "qwen2_audio", port, "sampler.slice_tokens=4", 'sampler.at_new_version="continue"', "grpo.lr=1e-12")
    run = arm("slices")
    wait(lambda: child.poll() is not None, RUN, "the run in slices")
    claim(child.returncode == 0, f"the run in slices ends well; see {WORK}/slices.log")
    figures = whole(run)
    end(server)
    metrics = lines(run / "metrics.jsonl")
    continued = [row for row in lines(run / "rollouts.jsonl") if "policy_versions" in row]
    claim(continued, "completions were cut by a new version")
    for row in continued:
        claim(sum(tokens for _, tokens in row["policy_versions"]) == row["tokens"], f"the parts of a completion add up: {row}")
    claim(len(continued) == sum(row["rollouts_continued"] for row in metrics), "each of them is counted")
    # The server must not draw some ids, whose probability is a few percent with random weights.
    most = max(row["logprob_gap_max"] for row in metrics)
    claim(most < 0.5, f"log-probabilities differ by {most} from the learner's")
    figures += [("completions of several versions", str(len(continued))),
                ("largest difference of log-probabilities to the learner", f"{most:.4f}")]
    return [(f"in slices, {what}", found) for what, found in figures]


def omni(world):
    """Qwen2.5-Omni: 20 steps, and an adapter whose names vLLM ignores."""
    port = free_port()
    server = world.serve("omni", port)
    fresh("omni")
    child = world.start("omni", "omni", port)
    run = arm("omni")
    wait(lambda: child.poll() is not None, RUN, "the run")
    claim(child.returncode == 0, f"the run of Omni ends well; see {WORK}/omni.log")
    rows = [(f"Qwen2.5-Omni, {what}", found) for what, found in whole(run)]
    end(server)
    return rows


def canary(world):
    """A server of another base."""
    port = free_port()
    server = world.serve("another", port)
    fresh("wrong-base")
    child = world.start("wrong-base", "qwen2_audio", port, "run.steps=1", 'control.listen="off"')
    run = arm("wrong-base")
    wait(lambda: child.poll() is not None, RUN, "the run")
    status = json.loads((run / "status.json").read_text())
    said = json.dumps(status)
    claim("wrong base" in said, f"the canary names the wrong base: {said}")
    end(server)
    return [("canary, a server of other weights", said.split("allows: ")[-1].split(";")[0])]


def whole(run):
    """No completion is lost or doubled, and the servers agree with the policy."""
    metrics = lines(run / "metrics.jsonl")
    claim([row["step"] for row in metrics] == list(range(1, STEPS + 1)), "each step is recorded once")
    rollouts = [row for row in lines(run / "rollouts.jsonl") if row["phase"] == "train"]
    places = {(row["step"], row["group"], row["index"]) for row in rollouts}
    expected = STEPS * 2 * 4
    claim(len(places) == len(rollouts) == expected, f"{len(rollouts)} completions, {len(places)} different, of {expected}")
    most = lambda name: max(row[name] for row in metrics if row.get(name) is not None)
    total = lambda name: sum(row.get(name) or 0 for row in metrics)
    claim(most("canary_gap") < 1e-4, f"the canary differs by {most('canary_gap')}")
    return [
        ("completions lost or doubled", "0"),
        ("largest difference of the canary's log-probabilities", f"{most('canary_gap'):.1e}"),
        ("mean difference of log-probabilities to the learner", f"{total('logprob_gap_mean') / STEPS:.4f}"),
        ("smallest effective sample size", f"{min(row['sampling_ess'] for row in metrics):.4f}"),
        ("answers asked again, dropped", f"{total('rollouts_retried')}, {total('rollouts_dropped')}"),
        ("seconds: steps, sampler idle, learner idle", ", ".join(
            f"{total(name):.1f}" for name in ("step_seconds", "sampler_idle_seconds", "learner_idle_seconds"))),
    ]


def fresh(name):
    subprocess.run(["rm", "-rf", WORK / name], check=True)


def folder(name):
    """The run directory, once there is one."""
    found = lambda: list((WORK / name).glob("*/scenario.toml"))
    wait(found, RUN, f"the run directory of {name}")
    return found()[0].parent


def arm(name):
    return folder(name) / "a/seed-7"


def reach(run, child, step):
    """Waits until so many steps are recorded."""
    recorded = lambda: len(lines(run / "metrics.jsonl")) if (run / "metrics.jsonl").exists() else 0
    wait(lambda: recorded() >= step or child.poll() is not None, RUN, f"step {step}")
    claim(child.poll() is None, f"the run goes on beyond step {step}; see {WORK}")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def kill_on(port):
    """Ends the server that the restart command started, which is in a session of its own."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and str(port).encode() in words and b"vllm" in words[1]:
            os.killpg(os.getpgid(int(entry.name)), signal.SIGKILL)
            return


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(done, seconds, what):
    end_of_wait = time.monotonic() + seconds
    while not done():
        claim(time.monotonic() < end_of_wait, f"{what} came within {seconds} s")
        time.sleep(0.2)


def claim(holds, what):
    if not holds:
        raise SystemExit(f"tests/vllm: does not hold: {what}")


PARTS = {"audio": audio, "slices": slices, "omni": omni, "canary": canary}

if __name__ == "__main__":
    main()
