"""What a file sounds like according to ffmpeg, at 16 kHz and as the mean of its channels."""

import array
import functools
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sound


@dataclass
class Truth:
    """`samples` at 16 kHz; `rate` and `channels` are the file's."""

    samples: array.array
    rate: int
    channels: int


def ffmpeg(*arguments, stdin=None):
    return subprocess.run(["ffmpeg", "-v", "error", *map(str, arguments)], input=b"" if stdin is None else stdin, capture_output=True).stdout


@functools.cache
def resampler():
    """soxr if ffmpeg was built with it, else a long filter of its own resampler."""
    built = subprocess.run(["ffmpeg", "-hide_banner", "-buildconf"], capture_output=True, text=True).stdout
    return "resampler=soxr:precision=28" if "--enable-libsoxr" in built else "filter_size=256:phase_shift=12:cutoff=0.97"


def resampled(samples, rate):
    if rate == sound.RATE or not samples:
        return samples
    made = ffmpeg("-f", "f32le", "-ar", rate, "-ac", 1, "-i", "-", "-af", f"aresample={sound.RATE}:{resampler()}", "-f", "f32le", "-", stdin=samples.tobytes())
    return array.array("f", made)


class Reference:
    def __init__(self, folder):
        self.folder = folder
        # Sources and parts belong to many kinds.
        self.sound = functools.cache(self.sound)

    def sound(self, path, decoder=None):
        """ffmpeg's decoding of the first sound track, or None. The decoder's samples reach us at the file's own rate and
        with all its channels, so that the mean of the channels and the resampling are ours."""
        content = ffmpeg(*(["-c:a", decoder] if decoder else []), "-i", path, "-map", "0:a:0", "-map_metadata", "-1", "-c:a", "pcm_f32le", "-f", "wav", "-")
        try:
            wav = sound.read_wav(content)
        except AssertionError:
            return None
        return Truth(resampled(wav.mono(), wav.rate), wav.rate, wav.channels) if wav.frames else None

    def mpg123(self, path):
        # To a file: what it writes to a pipe has no length.
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            subprocess.run(["mpg123", "-q", "-e", "f32", "-w", file.name, str(path)], capture_output=True)
            wav = sound.read_wav(Path(file.name).read_bytes())
        return Truth(resampled(wav.mono(), wav.rate), wav.rate, wav.channels)

    def joined(self, paths):
        truths = [self.sound(path) for path in paths]
        if not truths or not all(truths):
            return None
        samples = array.array("f")
        for truth in truths:
            samples.extend(truth.samples)
        return Truth(samples, min(truth.rate for truth in truths), truths[0].channels)

    def truths(self, entry):
        """The sounds that count as right, by the name of the reference."""
        made = {
            # ffmpeg's own decoder differs from libopus for speech at low rates.
            "ffmpeg": lambda: self.sound(self.folder / entry["file"], "libopus" if entry["codec"] == "Opus" else None),
            "mpg123": lambda: self.mpg123(self.folder / entry["file"]),
            "libvorbis": lambda: self.sound(self.folder / entry["file"], "libvorbis"),
            "source": lambda: self.sound(self.folder / entry["source"]),
            "parts": lambda: self.joined([self.folder / part for part in entry["parts"]]),
        }
        found = [(name, made[name]()) for name in entry["reference"]]
        return [(name, truth) for name, truth in found if truth]
