"""A stand-in for the sandbox: the same command line and output, with ffmpeg as the ear. It shows that the comparison accepts a
program that hears well. `STANDIN_FAULT` makes it hear badly, so that the tests see that the comparison notices.

It shares with reference.py only the decoding: ffmpeg mixes the channels, and resamples with its own resampler. It hears wrongly what ffmpeg's
command line does: the kinds whose reference is not ffmpeg, such as chained streams.
"""

import array
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import sound

FAULTS = {
    "late": lambda heard: array.array("f", bytes(4 * 40)) + heard,
    "short": lambda heard: heard[:len(heard) * 3 // 4],
    "quiet": lambda heard: array.array("f", [0.9 * value for value in heard]),
    "inverted": lambda heard: array.array("f", [-value for value in heard]),
    "silent": lambda heard: array.array("f", bytes(4 * len(heard))),
    "noise": lambda heard: array.array("f", [random.uniform(-0.3, 0.3) for _ in heard]),
    "nan": lambda heard: array.array("f", [float("nan")]) + heard[1:],
}

NOT_AUDIO = ((b"<", "an HTML page"), (b"{", "JSON"), (b"version https://git-lfs", "a Git LFS pointer"), (b"PK", "a zip archive"), (b"\x1f\x8b", "a gzip file"),
             (b"%PDF", "a PDF"), (b"\x89PNG", "a picture"))


def hear(path, fault):
    """(format, codec, rate, channels, samples), or an error."""
    head = path.read_bytes()[:64]
    if not head:
        raise ValueError("the audio file is empty")
    for magic, what in NOT_AUDIO:
        if head.startswith(magic):
            raise ValueError(f"not audio but {what}")
    shown = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=codec_name,sample_rate,channels:format=format_name",
                            "-of", "json", path], capture_output=True, text=True)
    facts = json.loads(shown.stdout or "{}")
    if not facts.get("streams"):
        raise ValueError("not a known audio format")
    stream = facts["streams"][0]
    decoded = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-map_metadata", "-1", "-c:a", "pcm_f32le", "-f", "wav", "-"], capture_output=True).stdout
    count = stream["channels"]
    # fault `first`: only the first channel, as some programs load stereo.
    weights = [1.0] + [0.0] * (count - 1) if fault == "first" else [1 / count] * count
    mix = "pan=mono|c0=" + "+".join(f"{weight:.9f}*c{each}" for each, weight in enumerate(weights))
    made = subprocess.run(["ffmpeg", "-v", "error", "-i", "-", "-af", f"{mix},aresample=16000:filter_size=128:cutoff=0.96", "-f", "f32le", "-"],
                          input=decoded, capture_output=True).stdout
    if not made:
        raise ValueError("no samples")
    return facts["format"]["format_name"], stream["codec_name"], int(stream["sample_rate"]), count, array.array("f", made)


def main():
    assert sys.argv[1:7] == ["listen", "--json", "--whole", "--downmix", "mean", "--wav-dir"], sys.argv
    folder, files, fault = Path(sys.argv[7]), sys.argv[8:], os.environ.get("STANDIN_FAULT", "")
    failed = False
    for number, file in enumerate(files):
        if fault == "crash" and number == 1 or fault == "crash_on_it" and "crash" in file:
            os.abort()
        if fault == "hang" and "hang" in file:
            time.sleep(1000)
        try:
            form, codec, rate, channels, samples = hear(Path(file), fault)
        except ValueError as error:
            failed = True
            print(json.dumps({"file": file, "error": f"{file}: {error}"}), flush=True)
            continue
        samples = FAULTS.get(fault, lambda heard: heard)(samples)
        wav = folder / f"{number}.wav"
        sound.write_wav(wav, samples)
        row = {"file": file, "format": form, "codec": codec, "rate": rate, "channels": channels, "seconds": len(samples) / sound.RATE, "warnings": []}
        print(json.dumps({**row, "wav": str(wav)}), flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
