"""What a kind of file is, the sounds that kinds are made from, and how tools are run."""

import array
import fnmatch
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import sound as sound_file

# Not a whole number of codec frames at any rate, so that a lost or invented last frame shows.
SECONDS = 3.01

WORDS = ("She had your dark suit in greasy wash water all year. Don't ask me to carry an oily rag like that. "
         "Four hours of steady work faced us.")


class Skip(Exception):
    """The kind can't be made here, for example because a tool is missing."""


def run(*command, stdin=None, check=True):
    """Runs a tool and returns what it wrote to its standard output."""
    command = [str(word) for word in command]
    if not shutil.which(command[0]):
        raise Skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=b"" if stdin is None else stdin, capture_output=True)
    if check and done.returncode:
        raise Skip(f"{' '.join(command)[:300]}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return done.stdout


def ffmpeg(*arguments, stdin=None):
    return run("ffmpeg", "-v", "error", "-y", *arguments, stdin=stdin)


class Sources:
    """The sounds that files are made from. Each channel differs, so that a file is heard as the mean of its channels only by
    a decoder that hears all of them. The fourth channel holds only 60 Hz, because encoders use it as the subwoofer of 5.1."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @functools.cached_property
    def master(self):
        """Eight channels at 48 kHz. What lies above 6.5 kHz was removed, since resamplers differ near 8 kHz, but for a
        tone at 11 kHz, which a resampler without a filter would fold to 5 kHz."""
        path, speech = self.folder / "master.wav", self.folder / "words.wav"
        try:
            run("espeak-ng", "-w", speech, WORDS)
            voice = ["-i", speech]
        except Skip as skip:
            print(f"WARNING: {skip}: the files hold noise in place of speech", file=sys.stderr)
            voice = ["-f", "lavfi", "-i", "anoisesrc=c=pink:a=0.5:seed=3:r=22050,tremolo=f=4:d=0.9"]
        graph = (
            "[0:a]aresample=48000:resampler=soxr,lowpass=f=6000,lowpass=f=6000,apad,atrim=end_sample={n},volume=0.8,asplit=3[s0][s1][s2];"
            "aevalsrc='0.08*sin(2*PI*440*t)+0.015*sin(2*PI*11000*t)':s=48000,atrim=end_sample={n}[t0];"
            "[s0][t0]amix=normalize=0[c0];"
            "anoisesrc=c=pink:a=0.5:seed=1:r=48000,lowpass=f=5000,lowpass=f=5000,atrim=end_sample={n},volume=0.5[n1];"
            "[s1]adelay=170,atrim=end_sample={n},volume=0.4[s1d];[n1][s1d]amix=normalize=0[c1];"
            "aevalsrc='0.2*sin(2*PI*700*t)*(0.6+0.4*sin(2*PI*3*t))|0.2*sin(2*PI*60*t)':s=48000,atrim=end_sample={n},asplit[a][b];[a]pan=mono|c0=c0[c2];[b]pan=mono|c0=c1[c3];"
            "anoisesrc=c=pink:a=0.5:seed=2:r=48000,lowpass=f=4000,atrim=end_sample={n},volume=0.5[c4];"
            "[s2]adelay=410,atrim=end_sample={n},volume=-0.6[c5];"
            "aevalsrc='0.15*sin(2*PI*1500*t)*(0.6+0.4*sin(2*PI*5*t))':s=48000,atrim=end_sample={n}[c6];"
            "anoisesrc=c=brown:a=0.5:seed=4:r=48000,highpass=f=200,atrim=end_sample={n},volume=0.7[c7];"
            "[c0][c1][c2][c3][c4][c5][c6][c7]join=inputs=8:channel_layout=7.1:map={map},volume=0.8[out]"
        ).format(n=round(SECONDS * 48_000), map="|".join(f"{at}.0-{name}" for at, name in enumerate("FL FR FC LFE BL BR SL SR".split())))
        ffmpeg(*voice, "-filter_complex", graph, "-map", "[out]", "-c:a", "pcm_f32le", path)
        return path

    def f32(self, rate, channels, sound="speech"):
        """A float WAV file with the first `channels` channels. `late`: half noise, then speech, then silence; `tail`: the
        sound from 1 s on, for a second file that is joined to a first."""
        path = self.folder / f"{sound}_{rate}_{channels}.wav"
        if not path.exists():
            chain = {
                "speech": "anull",
                "late": "volume=0.7,aeval='if(lt(t,1.5),random(0)*0.8-0.4,val(0))':c=same,apad=pad_dur=3,lowpass=f=6500",
                "tail": "atrim=start=1,asetpts=PTS-STARTPTS",
                "loud": "volume=3",
            }[sound]
            picked = f"pan={channels}c|" + "|".join(f"c{each}=c{each}" for each in range(channels))
            ffmpeg("-i", self.master, "-af", f"{picked},{chain},aresample={rate}:resampler=soxr:precision=28", "-c:a", "pcm_f32le",
                   "-bitexact", path)
        return path

    def wav(self, rate, channels, sound="speech"):
        """The same in 16 bits, which every encoder reads."""
        path = self.folder / f"{sound}_{rate}_{channels}_s16.wav"
        if not path.exists():
            ffmpeg("-i", self.f32(rate, channels, sound), "-c:a", "pcm_s16le", "-bitexact", path)
        return path

    @functools.cache
    def pcm(self, rate, channels, form="s16le", sound="speech"):
        """Its samples alone in one of ffmpeg's raw formats: `s16le`, `s24be`, `mulaw` …"""
        return ffmpeg("-i", self.f32(rate, channels, sound), "-f", form, "-")

    def kept_bits(self, rate, channels, width, bits):
        """Little-endian integer samples of `width` bytes of which only the upper `bits` bits are used."""
        samples = array.array("i", self.pcm(rate, channels, "s32le"))
        half, mask, most = (1 << 32 - bits) >> 1, -1 << 32 - bits, (1 << 31) - 1
        whole = array.array("i", [min(sample + half, most) & mask for sample in samples]).tobytes()
        return b"".join(whole[at + 4 - width:at + 4] for at in range(0, len(whole), 4)) if width < 4 else whole

    def seconds(self, rate, channels, sound="speech"):
        return sound_file.read_wav(self.f32(rate, channels, sound).read_bytes()).frames / rate


class Kinds:
    """Makes the wanted kinds in the order of their declarations and keeps what the manifest says of them."""

    def __init__(self, folder, short=False, only="*"):
        self.folder, self.short, self.only = folder, short, only
        self.sources = Sources(folder / "sources")
        self.entries, self.skipped = [], []
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "parts").mkdir(exist_ok=True)

    def family(self, family, **facts):
        """A function that adds kinds of one family, which have `facts` in common."""
        return functools.partial(self.add, family=family, **facts)

    def add(self, name, extension, make, *, family, container, codec, source=None, expect="equal", names=(), lossless=False,
            warning=None, seconds=None, reference=("ffmpeg",), parts=None, frame=None, note=None, short=False, ending=None):
        """`make(path)` writes the file, or returns its bytes; what it returns after it has written the file is ignored.

        `source`: (rate, channels) or (rate, channels, sound) of the sound in it. `reference`: what the decoded sound must
        equal, any one of: `ffmpeg` (ffmpeg's decoding of the file), `source` (the sound it was made from) and `parts`
        (ffmpeg's decodings of the files that `parts()` makes, one after another). `frame`: by how many samples per channel
        at the file's rate the length may differ, where it isn't the usual. `ending`: the file name's extension, if it is
        to contradict the content.
        """
        if self.short and not short or not any(fnmatch.fnmatch(each, self.only) for each in (name, family)):
            return
        assert expect in ("equal", "named", "either") and (names or expect == "equal"), name
        assert name not in {entry["name"] for entry in self.entries}, name
        path = self.folder / "files" / f"{name}.{ending or extension}"
        path.unlink(missing_ok=True)
        try:
            made = make(path)
            # A tool that wrote the file itself printed nothing.
            if not path.exists():
                path.write_bytes(made)
            part_files = [str(part.relative_to(self.folder)) for part in parts()] if parts else None
            source_file = self.sources.f32(*source) if source else None
        except Skip as skip:
            self.skipped.append((name, str(skip)))
            print(f"SKIPPED {name}: {skip}", file=sys.stderr)
            path.unlink(missing_ok=True)
            return
        if source and seconds is None:
            seconds = self.sources.seconds(*source)
        self.entries.append({
            "name": name, "file": str(path.relative_to(self.folder)), "family": family, "container": container, "codec": codec,
            "expect": expect, "names": list(names), "lossless": lossless, "warning": warning, "seconds": seconds,
            "reference": list(reference), "source": source_file and str(source_file.relative_to(self.folder)),
            "parts": part_files, "frame": frame, "note": note,
        })

    def write_manifest(self):
        lines = [json.dumps(entry) + "\n" for entry in self.entries]
        (self.folder / "manifest.jsonl").write_text("".join(lines))

    def part(self, name, content):
        """A file that is a reference only."""
        path = self.folder / "parts" / name
        path.write_bytes(content)
        return path

    def encoded(self, name, *arguments, source):
        """The bytes that ffmpeg makes of a source; `name` gives the format by its extension."""
        path = self.folder / "parts" / name
        if not path.exists():
            ffmpeg("-i", self.sources.f32(*source), *arguments, path)
        return path.read_bytes()
