"""The parts, in the order in which they run. Each has a name, what it does, its time limit in seconds, and a function of the
`World`. A further part is a further entry of `PARTS`."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import models
from live import live
from world import PeakMemory, World

ROOT = Path(__file__).resolve().parents[2]
QWEN2_AUDIO, OMNI = "qwen2-audio", "qwen2.5-omni"

# A step: 2 prompts with clips of 10 s, 8 completions of 32 tokens each.
STEP = ["--prompts", 2, "--group", 8, "--tokens", 32, "--seconds", 10]
TOKENS_PER_SECOND = {1: 205, 16: 3200, 64: 12600}
FIRST_TOKEN_MS = {1: 15, 16: 25, 64: 80}


@dataclass
class Part:
    name: str
    limit: float
    what: str
    run: Callable[[World], None]


def kernels(world):
    """Replays beside libtorch's operations on the same device: decoders that differ in heads, norms and biases, in f32 and bf16."""
    for name in models.DECODERS:
        folder = models.small(world, name)
        for dtype in ["f32", "bf16"]:
            printed = world.call("bench", "--check", "--json", "--policy", folder, "--device", world.device, "--dtype", dtype,
                                 "--prompts", 3, "--group", 5, "--tokens", 40, "--seconds", 1, fails=not world.on_gpu)
            if not world.on_gpu:
                # Where nothing is replayed, the check says that there is nothing to compare.
                world.claim(json.loads(printed)[0]["launches"] is None, f"{name}, {dtype}: on the CPU nothing is replayed")
                continue
            found = json.loads(printed)[0]
            what = f"{name}, {dtype}"
            world.row(f"{what}: mean gap to the learner", "nats", found["replayed"]["mean"], found["plain"]["mean"])
            world.row(f"{what}: same completions of {found['completions']}", "", found["equal"], found["completions"])
            if dtype == "f32":
                # A token may differ that was as likely as another, by rounding; a wrong kernel would change most completions.
                world.claim(found["equal"] >= found["completions"] - 1, f"{what}: the same completions with and without graphs")


def runs(world):
    """Two runs of a small random model, with graphs and without: the first completions must be the same. And a run of the
    built-in policy, whose heads the kernels don't take."""
    folder = models.small(world, "llama 9/3 x 64")
    found = {graphs: run(world, f"runs-{graphs}", graphs, policy=folder) for graphs in ("true", "false")}
    (first, with_graphs), (second, without) = found["true"], found["false"]
    same = sum(one == other for one, other in zip(first, second))
    world.row("small model: a step", "ms", with_graphs if world.on_gpu else None, without)
    world.claim(first and any(text for text, _ in first), "the records have the texts of completions")
    world.claim(same >= 0.9 * len(second), f"small model: {same} of {len(second)} completions of the first step are the same")
    _, milliseconds = run(world, "built-in", "false")
    world.row("built-in policy: a step", "ms", plain=milliseconds, goal=("<=", 15))


def run(world, name, graphs, policy=None):
    """Texts and lengths of the first step's completions, and the fastest step in milliseconds."""
    out = world.scratch / name
    settings = [f"run.device={world.device}", "run.steps=30", "policy.dtype=f32", f"sampler.cuda_graphs={graphs}",
                "eval.every=0", "eval.at_start=false", "checkpoint.every=30", "limits.action=ignore"]
    if policy:
        settings += [f"policy.path={json.dumps(str(policy))}", "policy.train=lora"]
    world.call(ROOT / "scenarios/smoke.toml", "--out", out, "--arm", "grpo+atar", "--no-control",
               *(part for setting in settings for part in ("--set", setting)))
    arm = next(out.glob("*/grpo+atar/seed-7"))
    metrics, rollouts = ([json.loads(line) for line in (arm / f"{kind}.jsonl").read_text().splitlines()]
                         for kind in ("metrics", "rollouts"))
    first = min(row["step"] for row in rollouts)
    drawn = [(row["completion"], row["tokens"]) for row in rollouts if row["phase"] == "train" and row["step"] == first]
    return drawn, 1e3 * min(step["step_seconds"] for step in metrics[2:])


def bench(world):
    """Decoding, first token and a LoRA step of Qwen2-Audio, with graphs and without; whether both agree."""
    folder = models.policy(world, QWEN2_AUDIO)
    with PeakMemory(world) as memory:
        measured = world.bench("--policy", folder, "--batch", "1,16,64", "--train", "lora", *STEP)
    decoding(world, measured, "")
    without = measured
    if world.on_gpu:
        without = world.bench("--policy", folder, "--batch", "--train", "lora", *STEP, "--no-cuda-graphs")
    step(world, measured if world.on_gpu else None, without)
    world.figure("LoRA step: peak memory", "GB", (memory.peak or measured["peak_bytes"]) / 1e9, goal=("<=", 20))


def decoding(world, measured, model):
    world.figure(f"{model}copies", "GB/s", measured["copied_bytes"] / 1e9)
    world.figure(f"{model}matrix products", "TFLOP/s", measured["flops"] / 1e12)
    for batch in (1, 16, 64):
        rows = [row for row in measured["decoding"] if row["batch"] == batch]
        graphs, plain = (next((row for row in rows if bool(row["launches"]) == replayed), {}) for replayed in (True, False))
        if world.on_gpu:
            world.claim(graphs, f"{model}batch {batch} is decoded by a graph")
        figure = lambda key, scale: [side[key] * scale if side else None for side in (graphs, plain)]
        world.row(f"{model}batch {batch}: launches of a token", "", *[side.get("launches") for side in (graphs, plain)])
        world.row(f"{model}batch {batch}: decoding", "tokens/s", *figure("tokens_per_second", 1), goal=(">=", TOKENS_PER_SECOND[batch]))
        world.row(f"{model}batch {batch}: bandwidth", "%", *figure("bandwidth", 100), goal=(">=", 75))
        world.row(f"{model}batch {batch}: first token", "ms", *figure("prefill_seconds", 1e3), goal=("<=", FIRST_TOKEN_MS[batch]))


def step(world, measured, without):
    """The rows of a step. `measured` is None where nothing is replayed."""
    trained = [side and side["training"][0] for side in (measured, without)]
    phases = [side and {phase["name"]: 1e3 * phase["seconds"] for phase in side["phases"]} for side in trained]
    pair = lambda figure, sides: [None if side is None else figure(side) for side in sides]
    world.row("LoRA step", "ms", *pair(lambda side: 1e3 * side["step_seconds"], trained), goal=("<=", 290))
    for name in phases[1]:
        world.row(f"LoRA step: {name}", "ms", *pair(lambda side: side[name], phases),
                  goal=("<=", 3) if name == "optimizer" else None)
    rest = pair(lambda side: sum(side.values()) - side["generation"], phases)
    world.row("LoRA step: without generation", "ms", *rest, goal=("<=", 130))
    world.row("LoRA step: MFU of the passes", "%", *pair(lambda side: 100 * side["mfu"], trained), goal=(">=", 45))


def check(world):
    """Whether the full-size model's log-probabilities by graphs are as near to the learner's as those without."""
    if not world.on_gpu:
        return
    found = json.loads(world.call("bench", "--check", "--json", "--policy", models.policy(world, QWEN2_AUDIO), *STEP, "--device", world.device))[0]
    world.row("mean gap to the learner", "nats", found["replayed"]["mean"], found["plain"]["mean"])
    world.row("largest gap to the learner", "nats", found["replayed"]["largest"], found["plain"]["largest"])
    world.row(f"same completions of {found['completions']}", "", found["equal"], found["completions"])


def live_run(world):
    live(world, models.policy(world, QWEN2_AUDIO))


def judge(world):
    """Verdicts of a local judge with 8 billion weights."""
    folder = models.judge(world)
    scenario = world.scratch / "judge.toml"
    scenario.write_text(f"""[run]
name = "judge"
steps = 1
[judge]
kind = "local"
path = {json.dumps(str(folder))}
device = "{world.device}"
prompting = "base"
cache = {{ disk = false }}
calibration_max_failed_fraction = 1.0
[eval]
limit = 1
[[arm]]
name = "judge"
method = "none"
""")
    sets = json.loads(world.call("judge", scenario, "--json"))[0]["sets"]
    best = max(sets, key=lambda each: each["verdicts_per_second"])
    world.claim(best["verdicts_per_second"] > 0, "the judge gives verdicts")
    world.figure("8B judge", "verdicts/s", best["verdicts_per_second"], goal=(">=", 60))
    world.figure("8B judge: latency p50", "s", best["latency_p50_seconds"])


def hugging_face(world):
    """The same of transformers and PEFT: their decoding, first token and LoRA step."""
    folder = models.policy(world, QWEN2_AUDIO)
    out, sample, clip = (world.scratch / name for name in ("theirs.json", "sample.json", "clip.wav"))
    compare = ROOT / "model/benches/compare"
    sys.path.insert(0, str(compare))
    clips = []
    for index in range(2):
        clips += ["--audio", write_clip(clip.with_stem(f"clip-{index}"), index)]
    ours = world.bench("--policy", folder, *clips, "--group", 8, "--tokens", 32, "--batch", "--train", "lora", "--steps", 1)
    sample.write_text(json.dumps({"sample": ours["training"][0]["sample"]}))
    command = [sys.executable, compare / "hugging_face.py", "--policy", folder, "--sample", sample, *clips, "--train", "lora",
               "--device", world.device, "--dtype", "bf16" if world.on_gpu else "f32", "--group", 8, "--tokens", 32, "--steps", 1,
               "--decode", "1,16,64", "--json", out]
    child = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             text=True, start_new_session=True)
    world.children.append(child)
    _, errors = child.communicate()
    world.claim(child.returncode == 0, f"transformers runs: {errors.strip().splitlines()[-1:]}")
    theirs = json.loads(out.read_text())
    figures = {"LoRA step: peak memory": theirs["peak_bytes"] / 1e9 if "peak_bytes" in theirs else theirs.get("peak_device_bytes", 0) / 1e9}
    for row in theirs["decode"]:
        figures[f"batch {row['batch']}: decoding"] = row["tokens_per_second"]
        figures[f"batch {row['batch']}: first token"] = 1e3 * row["prefill_seconds"]
    phases = dict(theirs["steps"][0])
    figures["LoRA step"] = 1e3 * sum(phases.values())
    figures |= {f"LoRA step: {name}": 1e3 * seconds for name, seconds in phases.items()}
    for what, value in figures.items():
        if row := world.known(what):
            row["theirs"] = value
        else:
            world.row(what, "ms" if "step" in what or "token" in what else "", theirs=value)


def write_clip(path, seed):
    """A clip of 10 s."""
    import random
    import struct
    import wave
    source = random.Random(seed)
    with wave.open(str(path), "wb") as file:
        samples = [int(4000 * (2 * source.random() - 1)) for _ in range(160_000)]
        file.setparams((1, 2, 16000, len(samples), "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


def omni(world):
    """Decoding and a LoRA step of Qwen2.5-Omni."""
    folder = models.policy(world, OMNI)
    measured = world.bench("--policy", folder, "--batch", "64", "--train", "lora", *STEP)
    rows = {bool(row["launches"]): row["tokens_per_second"] for row in measured["decoding"]}
    world.row("Omni: batch 64: decoding", "tokens/s", rows.get(True), rows.get(False), goal=(">=", 12600))
    world.figure("Omni: LoRA step", "ms", 1e3 * measured["training"][0]["step_seconds"], goal=("<=", 260))
    world.figure("Omni: LoRA step: MFU of the passes", "%", 100 * measured["training"][0]["mfu"])


PARTS = [
    Part("kernels", 70, "replays beside libtorch's operations, small decoders", kernels),
    Part("runs", 60, "runs of small models, with graphs and without", runs),
    Part("bench", 110, "decoding and a LoRA step of Qwen2-Audio 7B", bench),
    Part("check", 45, "agreement of graphs on Qwen2-Audio 7B", check),
    Part("live", 90, "a live run of it, with a change of a weight and a swap of a reward", live_run),
    Part("hugging-face", 110, "transformers and PEFT on it", hugging_face),
    Part("judge", 80, "an 8B judge", judge),
    Part("omni", 90, "Qwen2.5-Omni 7B", omni),
]
