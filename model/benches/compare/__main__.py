"""Compares our GRPO step with one of transformers + PEFT, as in R1-AQA's trainer, on the same checkpoint (a random one, or that of
--policy), the same clips and the same number of threads.

    python3 model/benches/compare                      # tiny Qwen2-Audio on the CPU
    python3 model/benches/compare --threads 2 --seconds 30
    python3 model/benches/compare --policy scenarios/small/model --train lora --prompts 4 --tokens 16 --seconds 0.6 --decode 1,8,32
    python3 model/benches/compare --size 7b --device cuda --architecture qwen2-audio --architecture qwen2.5-omni \
        --train lora --decode 1,16,64 --executable ./sandbox

By default a step has 2 prompts with a clip each and 8 completions of 32 tokens for each prompt; --help lists the options. The
report also compares the log-probabilities, the speed of generation as a share of the memory bandwidth, MFU, memory, and the time
from an MP3 to features.

Needs torch 2.11, transformers, peft, numpy and safetensors (tests/fixtures/requirements.txt), and librosa and ffmpeg for the row
on MP3. Our side is `sandbox bench`, which cargo builds without --executable. To run on a machine without cargo, copy the
executable, this folder and `tests/fixtures/tokenizer` there, and keep the folders' paths in the repository:

    export LD_LIBRARY_PATH=$(python3 -c "import os, torch; print(os.path.join(os.path.dirname(torch.__file__), 'lib'))")
"""

import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path

import torch

import checkpoints
from report import Report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executable", type=Path, help="the program `sandbox`; built by cargo if absent")
    parser.add_argument("--policy", type=Path, help="a Qwen2-Audio checkpoint in the hub's layout, in place of random ones")
    parser.add_argument("--architecture", action="append", choices=checkpoints.ARCHITECTURES)
    parser.add_argument("--size", choices=["tiny", "7b"], default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=list(DTYPES), help="default: f32 on the CPU, bf16 on a GPU")
    parser.add_argument("--train", default="lora,full", help="lora, full (all weights, with the audio tower), or both as lora,full")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--group", type=int, default=8, help="number of completions of each prompt")
    parser.add_argument("--tokens", type=int, default=32, help="number of tokens in each completion")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each clip; those of AVQA have 10 s")
    parser.add_argument("--steps", type=int, default=3, help="number of measured steps, after one to warm up; the fastest is reported")
    parser.add_argument("--decode", default="8", help="batch sizes to measure generation with")
    parser.add_argument("--scratch", type=Path, help="folder for the checkpoints, which are removed afterwards")
    args = parser.parse_args()
    if args.executable and not args.executable.is_file():
        parser.error(f"--executable {args.executable}: no such file; omit the option to have cargo build it")
    if args.policy and not (args.policy / "config.json").is_file():
        parser.error(f"--policy {args.policy}: no config.json there; name the folder of a checkpoint")
    if args.policy and args.architecture not in (None, [checkpoints.QWEN2_AUDIO]):
        parser.error("--policy is only compared as qwen2-audio; omit --architecture")
    if set(args.train.split(",")) - {"lora", "full"}:
        parser.error(f"--train {','.join(sorted(unknown))}: write lora, full, or lora,full")
    args.architecture = args.architecture or [checkpoints.QWEN2_AUDIO]
    args.dtype = args.dtype or ("f32" if args.device == "cpu" else "bf16")
    return args


def build():
    """Builds the program with cargo and returns the path of its executable."""
    command = ["cargo", "build", "--release", "--bin", "sandbox", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return next(Path(message["executable"]) for message in messages
                if message.get("executable") and message["target"]["name"] == "sandbox")


def write_clip(path, seconds, seed):
    """Writes a clip of bursts of noise, 16 kHz mono."""
    source = random.Random(seed)
    loudness = [source.random() * 8000 for _ in range(int(seconds * 10) + 1)]
    samples = [int(loudness[index // 1600] * (2 * source.random() - 1)) for index in range(int(seconds * 16000))]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, len(samples), "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def write_mp3(path):
    """Writes 30 s of 44.1 kHz stereo: pink noise on the left, a chirp over the whole band on the right. False without ffmpeg."""
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "anoisesrc=d=30:c=pink:r=44100:a=0.3:seed=1",
               "-f", "lavfi", "-i", "aevalsrc='0.3*sin(2*PI*(100*t+250*t*t))':d=30:s=44100",
               "-filter_complex", "amerge=inputs=2", "-c:a", "libmp3lame", "-b:a", "128k", str(path)]
    return shutil.which("ffmpeg") is not None and subprocess.run(command).returncode == 0


class PeakMemory(threading.Thread):
    """Measures the peak memory of the device during a block, less the memory in use before it; 0 on the CPU.

    Includes the memory of the CUDA context, which PyTorch's own statistics do not."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.peak, self.over = device, 0, threading.Event()

    def used(self):
        free, total = torch.cuda.mem_get_info(self.device)
        return total - free

    def __enter__(self):
        if self.device != "cpu":
            self.before = self.used()
            self.start()
        return self

    def run(self):
        while not self.over.wait(0.02):
            self.peak = max(self.peak, self.used() - self.before)

    def __exit__(self, *_):
        self.over.set()


def run(command, device):
    """Runs one side of the comparison; returns what it printed, and the most memory that it took of a GPU."""
    with PeakMemory(device) as memory:
        finished = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env=os.environ | {"TRANSFORMERS_VERBOSITY": "error"})
    if finished.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{finished.stdout}{finished.stderr}")
    return finished.stdout, memory.peak


def run_ours(command, device):
    """Runs `sandbox bench`, and returns its report in the form of the other side's."""
    printed, peak = run([*command, "--json"], device)
    measured = json.loads(printed)
    trained = measured["training"][0]
    # On a GPU each number of completions is measured with CUDA graphs first, then without.
    decode = list({row["batch"]: row for row in reversed(measured["decoding"])}.values())[::-1]
    return {"sample": trained["sample"], "decode": decode, "load_seconds": measured.get("load_seconds"),
            "steps": [[[phase["name"], phase["seconds"]] for phase in trained["phases"]]],
            "peak_bytes": peak or measured["peak_bytes"]}


def run_theirs(command, device, out):
    """Runs transformers and PEFT, and returns their report."""
    _, peak = run([*command, "--json", out], device)
    report = json.loads(out.read_text())
    report["peak_bytes"] = report.get("peak_device_bytes") or peak or report["peak_resident_bytes"]
    return report


def compare(args, architecture, scratch, executable, report):
    """Compares one architecture: both sides for each value of --train."""
    folder = scratch / architecture
    if args.policy:
        checkpoints.link(args.policy, folder)
    else:
        checkpoints.write(folder, architecture, args.size == "tiny", DTYPES[args.dtype], args.device)
    clips = [scratch / f"clip-{index}.wav" for index in range(args.prompts)]
    for index, clip in enumerate(clips):
        write_clip(clip, args.seconds, index)
    mp3 = scratch / "clip.mp3"
    common = ["--policy", folder, *(part for clip in clips for part in ("--audio", clip)), "--device", args.device,
              "--dtype", args.dtype, "--threads", args.threads, "--group", args.group, "--tokens", args.tokens,
              "--steps", args.steps]
    for index, train in enumerate(args.train.split(",")):
        load = ["--load", mp3] if index == 0 and (mp3.exists() or write_mp3(mp3)) else []
        decode = [args.decode] if index == 0 else []
        ours = run_ours([executable, "bench", *common, *load, "--train", train, "--batch", *decode], args.device)
        sample = scratch / "ours.json"
        sample.write_text(json.dumps(ours))
        decode = ["--decode", args.decode] if index == 0 else []
        theirs = run_theirs([sys.executable, HERE / "hugging_face.py", *common, *load, *decode, "--train", train, "--sample", sample],
                            args.device, scratch / "theirs.json")
        report.add(checkpoints.named(architecture, args.size, args.policy), checkpoints.empty_model(folder), train, ours, theirs)
    shutil.rmtree(folder)


def main():
    args = arguments()
    executable = args.executable.resolve() if args.executable else build()
    report = Report(args)
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        for architecture in args.architecture:
            compare(args, architecture, Path(scratch), executable, report)


if __name__ == "__main__":
    main()
