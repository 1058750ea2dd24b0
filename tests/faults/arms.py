"""What one arm alone needs is gone when its turn comes: that arm ends by name, the others finish."""

import json
import shutil

import compare
from case import Fault, kind
from judges import TOKENS, server
from kills import found, write
from scenario import make

ROWS = [{"id": f"q{number}", "question_text": "What is heard?", "multi_choice": ["beep", "buzz"], "answer": number % 2,
         "audio_path": f"clips/{number}.wav"} for number in range(4)]

REWARD = "def reward(completions, **columns):\n    return [len(text) / 100 for text in completions]\n"


def needs(case):
    """The arms, in their turns, and the file or folder that each needs."""
    reward, data, policy = case.dir / "reward.py", case.dir / "data", case.dir / "policy"
    reward.write_text(REWARD)
    (data / "clips").mkdir(parents=True)
    for row in ROWS:
        write_tone(data / row["audio_path"])
    (data / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    shutil.copytree(case.campaign.policy, policy)
    arms = {
        "first": "steps = 4",
        "reward": 'steps = 2\nrewards.own = { kind = "python", file = "reward.py" }\nshaping.formula = "accuracy + own"',
        "second": "steps = 2",
        "data": 'steps = 2\ndata.train = { format = "avqa", path = "data/rows.jsonl" }',
        "policy": 'steps = 2\npolicy.path = "policy"',
        "third": "steps = 2",
    }
    return arms, {"reward": reward, "data": data, "policy": policy}


def write_tone(path):
    samples = b"".join(int(8000 * ((number // 20) % 2 - 0.5)).to_bytes(2, "little", signed=True) for number in range(8000))
    header = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0"
    path.write_bytes(header + b"data" + len(samples).to_bytes(4, "little") + samples)


@kind("arm-alone", quick=1, full=25)
def arm_alone(case):
    arms, needed = needs(case)
    judged = case.rng.random() < 0.5
    with server(case, "500", 1 << 30) as port:
        if judged:
            arms["judged"] = f"""steps = 2
judge = {{ kind = "openai", base_url = "http://127.0.0.1:{port}/v1", model = "judge", retries = 0, connect_timeout_seconds = 1.0, \
cache = {{ disk = false }}, on_failure = "abort" }}
shaping.formula = "accuracy + think"
prompt.style = "think\""""
        path = write(case, make(arms, steps=4, parallel=1, tokens=TOKENS))
        whole = case.start(path, "--out", "whole", "--no-control", "--quiet")
        whole.end(0)
        lost = case.rng.sample(sorted(needed), case.rng.randint(1, len(needed)))
        case.note(", ".join(lost))
        process = case.start(path, "--out", "runs", "--no-control", "--quiet")
        case.until(lambda: found(case) and compare.arms(found(case)) or not process.alive())
        for name in lost:
            needed[name].rename(case.dir / f"{name}-aside")
        case.faults = len(lost)
        process.end(1)
        reported(case, found(case), arms, lost, process)
        for name in lost:
            (case.dir / f"{name}-aside").rename(needed[name])
        case.run("--resume", found(case), "--no-control", "--quiet")
    compare.same(found(case, "whole"), found(case))


def reported(case, run, arms, lost, process):
    """The lost arms failed by name, the others are done, and the report has all of them."""
    for name in arms:
        folder = compare.arms(run).get(f"{name}/seed-7")
        state = compare.status(folder).get("status") if folder else None
        if state != ("failed" if name in lost else "done"):
            raise Fault("different", f"arm {name} is {state}; lost were {lost}: {process.output()[-300:]}")
        if name in lost and name not in process.output():
            raise Fault("unnamed", f"arm {name} failed and is not named: {process.output()[-300:]}")
    summary = (run / "summary.md").read_text() if (run / "summary.md").exists() else ""
    missing = [name for name in arms if name not in summary]
    if missing:
        raise Fault("lost", f"summary.md does not have {', '.join(missing)}")
    compare.same(found(case, "whole"), run, only=set(arms) - set(lost))
