"""Judges' servers that die, hang, lie or flood. The arm beside them must not notice."""

import subprocess
import sys
from contextlib import contextmanager

import compare
from case import HERE, Fault, kind
from kills import found, write
from scenario import make

MODES = ["500", "429", "hangs", "drops", "truncated", "drips", "flood", "not-json", "deep", "off-scale", "two-verdicts", "rambles",
         "empty", "length", "error-200", "redirect", "dies"]

BESIDE = {"beside": ""}
TOKENS = 40


@contextmanager
def server(case, mode, after):
    process = subprocess.Popen([sys.executable, str(HERE / "judge_stub.py"), mode, str(after)], stdout=subprocess.PIPE, text=True)
    case.campaign.children.add(process)
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        case.campaign.children.discard(process)


def arms(port, mode=""):
    # The server asks for an hour; more than the limit is not waited for.
    limit = "max_retry_after_seconds = 0.5, " if mode == "429" else ""
    judged = f"""judge = {{ kind = "openai", base_url = "http://127.0.0.1:{port}/v1", model = "judge", timeout_seconds = 1.0, \
read_timeout_seconds = 1.0, retries = 1, retry_pause_seconds = 0.05, {limit}cache = {{ disk = false }} }}
shaping.formula = "accuracy + w_think * think"
shaping.weights = {{ think = 0.3 }}
prompt.style = "think"
steps = 4"""
    return BESIDE | {"judged": judged}


@kind("judge", quick=3, full=85)
def judge(case):
    mode, after = MODES[case.number % len(MODES)], case.rng.randint(0, 12)
    case.note(f"{mode} after {after}")
    reference, _ = case.campaign.reference(make(BESIDE, tokens=TOKENS))
    with server(case, mode, after) as port:
        process = case.start(write(case, make(arms(port, mode), tokens=TOKENS)), "--out", "runs", "--no-control", "--quiet")
        case.faults = 1
        process.end(0, 1)
    run = found(case)
    if run is None:
        raise Fault("wrong_exit", f"nothing was run: {process.output()[-300:]}")
    compare.conserved(run)
    compare.same(reference, run, only={"beside"})
    for row in compare.rows(run / "judged/seed-7/rollouts.jsonl"):
        score = row.get("components", {}).get("think")
        # The good replies grade 0.9; what is no verdict gives no score, and never one that nobody gave.
        if row["phase"] == "train" and row.get("mode") == "think" and row["well_formed"] and score not in (None, 0.9):
            raise Fault("different", f"a score of {score} that no reply gave ({mode})")
