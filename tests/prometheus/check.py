"""Has Prometheus scrape a run and asks it every query of the dashboard; see README.md."""

import argparse
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "faults")]

import scenario  # noqa: E402

DASHBOARD = HERE.parents[1] / "deploy" / "grafana" / "sandbox.json"
CONFIG = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: sandbox
    authorization: {{ credentials_file: {folder}/token }}
    static_configs: [{{ targets: ["127.0.0.1:{run}"] }}]
  - job_name: without-token
    static_configs: [{{ targets: ["127.0.0.1:{run}"] }}]
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def wait_for(what, condition, seconds=120):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            if found := condition():
                return found
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    sys.exit(f"{what} did not happen within {seconds} s")


def series(prometheus, query, since):
    """The series of a query over the whole run."""
    times = {"query": query, "start": since, "end": time.time(), "step": "1"}
    answer = json.loads(get(f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(times)}"))
    return answer["data"]["result"]


def queries(dashboard):
    """Each query of a panel with the panel's title."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable in dashboard["templating"]["list"]:
                expression = expression.replace("$" + variable["name"], ".*")
            yield panel["title"], expression


def check(prometheus, dashboard, since):
    failures = 0
    for title, query in queries(dashboard):
        found = series(prometheus, query, since)
        note = ""
        if not found and (compared := re.fullmatch(r"(.*?) (==|!=|>|<|>=|<=) [0-9.]+", query)):
            found, note = series(prometheus, compared[1], since), f" (without its condition, which nothing meets)"
        points = sum(len(one["values"]) for one in found)
        print(f"{'ok  ' if found else 'FAIL'} {title}: {len(found)} series, {points} points{note}\n       {query}")
        failures += not found
    for variable in dashboard["templating"]["list"]:
        label = re.search(r"label_values\((?:(\w+), *)?(\w+)\)", str(variable.get("query") or variable.get("definition") or ""))
        if label:
            values = json.loads(get(f"{prometheus}/api/v1/label/{label[2]}/values"))["data"]
            print(f"{'ok  ' if values else 'FAIL'} variable {variable['name']}: {', '.join(values)}")
            failures += not values
    return failures


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sandbox", required=True)
    options.add_argument("--prometheus", default=shutil.which("prometheus"))
    options = options.parse_args()
    if not options.prometheus:
        sys.exit("no prometheus; on Debian: apt-get install prometheus")
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    token, run_port, port = secrets.token_hex(32), free_port(), free_port()
    (folder / "token").write_text(token)
    (folder / "prometheus.yml").write_text(CONFIG.format(folder=folder, run=run_port))
    text = scenario.make({"grpo": "", "lora": 'policy.train = "lora"'}, steps=20000)
    (folder / "s.toml").write_text(text.replace("every = 3", "every = 10"))
    started = []
    try:
        since = time.time()
        with open(folder / "prometheus.log", "wb") as log:
            words = [options.prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
            started.append(subprocess.Popen([*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log))
        prometheus = f"http://127.0.0.1:{port}"
        wait_for("Prometheus", lambda: get(f"{prometheus}/-/ready"))
        words = [options.sandbox, folder / "s.toml", "--out", folder / "runs", "-q", "--set", f"control.listen=127.0.0.1:{run_port}"]
        environment = {**os.environ, "SANDBOX_TOKEN": token}
        run = subprocess.Popen([*words, "--set", "control.token_env=SANDBOX_TOKEN"], env=environment)
        started.append(run)
        wait_for("/healthz", lambda: get(f"http://127.0.0.1:{run_port}/healthz").strip() == "ok")
        print("ok   /healthz: ok")
        wait_for("an evaluation", lambda: series(prometheus, "sandbox_eval_accuracy", since))
        wait_for("twenty steps", lambda: series(prometheus, "sandbox_arm_step > 20", since))
        up = {one["metric"]["job"]: one["values"][-1][1] for one in series(prometheus, "up", since)}
        refused = up == {"sandbox": "1", "without-token": "0"}
        print(f"{'ok  ' if refused else 'FAIL'} scraped with the token, refused without: {up}")
        failures = (not refused) + check(prometheus, json.loads(DASHBOARD.read_text()), since)
        if run.poll() is not None:
            sys.exit(f"the run ended with exit code {run.returncode}")
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)
    shutil.rmtree(folder)
    if failures:
        sys.exit(f"{failures} queries without data")


main()
