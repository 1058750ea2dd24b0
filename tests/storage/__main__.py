"""Trains, kills, fetches and resumes a run against a real S3 server behind a proxy that cuts connections; see README.md."""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "faults")]

import compare  # noqa: E402
import scenario  # noqa: E402
from proxy import Proxy  # noqa: E402

CUTS = 10
BUCKET = "sandbox-test"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """An S3 server on this machine."""

    def __init__(self, command, folder):
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        words = command.format(port=self.port, folder=folder).split()
        self.log = open(folder.parent / "server.log", "ab")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log)
        deadline = time.time() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.time() > deadline:
                    sys.exit(f"the S3 server did not start; see {self.log.name}")
                time.sleep(0.1)

    def make_bucket(self):
        """moto takes any signature; s3s-fs has a folder for each bucket."""
        if "moto" in self.process.args[0]:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=10).close()
        else:
            (self.folder / BUCKET).mkdir(exist_ok=True)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Study:
    def __init__(self, sandbox, folder, port):
        self.sandbox, self.folder = sandbox, folder
        self.environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "testtest",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_REGION": "us-east-1",
        }

    def start(self, *arguments, log=subprocess.PIPE, **more):
        words = [self.sandbox, *map(str, arguments)]
        return subprocess.Popen(words, env={**self.environment, **more}, stdout=log, stderr=subprocess.STDOUT, text=True)

    def run(self, *arguments, expect=0, **more):
        process = self.start(*arguments, **more)
        try:
            said, _ = process.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            process.kill()
            sys.exit(f"{arguments} did not end within 600 s")
        if process.returncode != expect:
            sys.exit(f"{arguments}: exit code {process.returncode}, not {expect}:\n{said}")
        return said


def need(condition, problem):
    if not condition:
        sys.exit(problem)


def steps(run):
    path = run / "grpo" / "seed-7" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def fetched(study, url, name):
    """Fetches a run, and what its newest checkpoint is; `None` if nothing is stored yet."""
    target = study.folder / name
    process = study.start("fetch", url, target)
    said, _ = process.communicate(timeout=120)
    if process.returncode != 0:
        need("no run is stored there" in said, f"fetch {url}: {said}")
        return None
    if (target / "scenario.toml").exists():
        study.run("verify", target)
    found = sorted(path.name for path in target.glob("*/*/checkpoints/step-*"))
    shutil.rmtree(target)
    return found[-1] if found else "no checkpoint"


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sandbox", required=True)
    options.add_argument("--server", default=os.environ.get("S3_COMMAND") or f"{sys.prefix}/bin/moto_server -H 127.0.0.1 -p {{port}}")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--steps", type=int, default=120)
    options = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="storage-"))
    server = Server(options.server, folder / "server")
    try:
        server.make_bucket()
        campaign(options, folder, server)
    finally:
        server.stop()
    shutil.rmtree(folder)


def campaign(options, folder, server):
    chance, proxy = random.Random(options.seed), Proxy(server.port, options.seed)
    study = Study(options.sandbox, folder, proxy.port)
    scenario_file = folder / "s.toml"
    scenario_file.write_text(scenario.make({"grpo": "", "lora": 'policy.train = "lora"'}, steps=options.steps))

    began = time.time()
    study.run(scenario_file, "--out", folder / "unbroken", "-q")
    unbroken = compare.run_dir(folder / "unbroken")
    seconds = time.time() - began
    print(f"1. unbroken: {options.steps} steps of 2 arms in {seconds:.1f} s")

    store = ["--set", f"storage.url=s3://{BUCKET}/audio", "--set", "storage.every_seconds=1"]
    proxy.cut(CUTS)
    # Nobody reads its output while it runs, and a pipe would hold only so much of it.
    log = folder / "killed.log"
    with open(log, "wb") as opened:
        process = study.start(scenario_file, "--out", folder / "here", *store, log=opened)
    run, deadline = None, time.time() + 900
    kill_at = chance.randint(options.steps // 4, options.steps // 2)
    while process.poll() is None and time.time() < deadline:
        run = run or compare.run_dir(folder / "here")
        if run is None:
            time.sleep(0.05)
            continue
        url = f"s3://{BUCKET}/audio/{run.name}"
        if steps(run) >= kill_at and proxy.sent > 1_000_000:
            break
        time.sleep(0.05)
    if process.poll() is not None or run is None or steps(run) < kill_at:
        sys.exit(f"the run could not be killed at step {kill_at}:\n{log.read_text()}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    taken, cuts = steps(run), proxy.cuts
    need(taken < options.steps, f"the run was at its end, step {taken}, when it was killed")
    need(b"testtest" not in b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file()), "the secret was written")
    shutil.move(run, folder / "gone")
    after = fetched(study, url, "glance")
    print(f"2. killed at step {taken} after {cuts} cuts; the store has {after}")

    proxy.cut(CUTS)
    before = proxy.sent
    study.run("--resume", url, "--out", folder / "there", "--set", "storage.every_seconds=1")
    there = compare.run_dir(folder / "there")
    need(proxy.cuts >= CUTS, f"only {proxy.cuts} connections were cut")
    need(there.name == run.name, f"{there.name} is not {run.name}")
    print(f"3. resumed elsewhere to its end, {proxy.cuts - cuts} further cuts, {proxy.sent - before} bytes sent by the client")

    study.run("fetch", url, folder / "fetched")
    study.run("verify", folder / "fetched")
    compare.same(unbroken, folder / "fetched")
    size = sum(path.stat().st_size for path in (folder / "fetched").rglob("*") if path.is_file())
    print(f"4. fetched: {size} bytes, equal to the unbroken run")

    refused(study, folder, run, server)
    missing(study, folder, scenario_file, store, server, proxy, options)


def refused(study, folder, run, server):
    other = folder / "other" / run.name
    shutil.copytree(folder / "gone", other)
    (other / "storage.json").unlink()
    said = study.run("upload", other, f"s3://{BUCKET}/audio", expect=2)
    need("has the run" in said and "already" in said, said)
    print(f"5. refused: {said.strip()}")


def missing(study, folder, scenario_file, store, server, proxy, options):
    """The server goes away in the middle of a run and comes back after it."""
    process = study.start(scenario_file, "--out", folder / "late", *store, "--set", "storage.wait_seconds=2")
    while not ((run := compare.run_dir(folder / "late")) and steps(run) >= 3):
        need(process.poll() is None, "the run ended early")
        time.sleep(0.05)
    server.process.send_signal(signal.SIGSTOP)
    proxy.target = free_port()
    said, _ = process.communicate(timeout=300)
    need(process.returncode == 3 and f"sandbox upload {run}" in said, f"exit code {process.returncode}:\n{said}")
    line = next(line for line in said.splitlines() if "not uploaded" in line)
    server.process.send_signal(signal.SIGCONT)
    proxy.target = server.port
    said = study.run("upload", run)
    study.run("fetch", f"s3://{BUCKET}/audio/{run.name}", folder / "late-fetched")
    compare.same(run, folder / "late-fetched")
    print(f"6. without a server: {line}\n   then: {said.strip()}")


main()
