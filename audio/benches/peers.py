"""The time to decode files to mono at 16 kHz, beside soundfile with soxr and ffmpeg, on one core.

    cargo build --release -p audio --example listen
    pip install soundfile soxr
    python3 audio/benches/peers.py target/release/examples/listen FOLDER

Makes 200 files of ten seconds in each format in FOLDER, 44.1 kHz stereo (pink noise beside a chirp), with ffmpeg. Prints
multiples of real time, the best of three rounds. ffmpeg is started for each file, the others once or in this process.
"""

import os
import pathlib
import subprocess
import sys
import time

import soundfile
import soxr

FILES, SECONDS = 200, 10
FORMATS = {
    "wav": ["pcm_s16le"],
    "flac": ["flac"],
    "mp3": ["libmp3lame", "-b:a", "128k"],
    "ogg": ["libvorbis", "-q:a", "4"],
    "opus": ["libopus", "-b:a", "96k"],
    "m4a": ["aac", "-b:a", "128k"],
}
NOT_BY_SOUNDFILE = {"m4a"}


def make(path, codec, number):
    noise = f"anoisesrc=d={SECONDS}:c=pink:r=44100:a=0.3:seed={number}"
    chirp = f"aevalsrc='0.3*sin(2*PI*({100 + number}*t+250*t*t))':d={SECONDS}:s=44100"
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "lavfi", "-i", noise, "-f", "lavfi", "-i", chirp]
    subprocess.run([*command, "-filter_complex", "amerge=inputs=2", "-c:a", *codec, path], check=True)


def by_sandbox(listen, paths):
    subprocess.run([listen, *paths, "--whole", "--downmix", "mean"], check=True, stdout=subprocess.DEVNULL)


def by_soundfile(paths):
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        soxr.resample(samples.mean(axis=1), rate, 16000, quality="HQ")


def by_ffmpeg(paths):
    for path in paths:
        command = ["ffmpeg", "-loglevel", "error", "-threads", "1", "-i", path, "-ac", "1", "-ar", "16000"]
        subprocess.run([*command, "-f", "f32le", "-y", "/dev/null"], check=True)


def main():
    listen, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {0})
    print("| format | sandbox | soundfile + soxr HQ | ffmpeg |\n|---|---|---|---|")
    for name, codec in FORMATS.items():
        paths = [folder / f"{number}.{name}" for number in range(FILES)]
        for number, path in enumerate(paths):
            if not path.exists():
                make(path, codec, number)
        programs = {"sandbox": lambda: by_sandbox(listen, paths), "ffmpeg": lambda: by_ffmpeg(paths)}
        if name not in NOT_BY_SOUNDFILE:
            programs["soundfile"] = lambda: by_soundfile(paths)
        best = {}
        for _ in range(3):
            for program, decode in programs.items():
                began = time.perf_counter()
                decode()
                best[program] = min(best.get(program, float("inf")), time.perf_counter() - began)
        cells = [f"{FILES * SECONDS / best[key]:.0f} ×" if key in best else "–" for key in ("sandbox", "soundfile", "ffmpeg")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
