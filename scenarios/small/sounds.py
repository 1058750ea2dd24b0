"""Fetches recorded sounds for small-recorded.toml and sorts them into a folder per class.

    python3 scenarios/small/sounds.py FOLDER      FOLDER/drum_loop, FOLDER/drone, FOLDER/hi-hat, ...

They are CC0: the samples of Sonic Pi, by way of the npm package supersonic-scsynth-samples 0.84.2, whose PROVENANCE.md has a link
per sound. Of its 206 recordings those whose names say that they are one of the six classes are taken. Needs Python alone.
"""

import hashlib
import io
import re
import sys
import tarfile
import urllib.request
from pathlib import Path

ADDRESS = "https://registry.npmjs.org/supersonic-scsynth-samples/-/supersonic-scsynth-samples-0.84.2.tgz"
SHA256 = "aff0b03208adb5dc7612dc7a4e86d55161188326bcff4dbc2d20ce9e1b94238c"

# What the names of a class's recordings begin with.
CLASSES = {
    "kick drum": ("bd_", "drum_bass_", "drum_heavy_kick", "elec_soft_kick", "elec_hollow_kick"),
    "snare drum": ("sn_", "drum_snare_", "elec_snare", "elec_hi_snare", "elec_lo_snare", "elec_mid_snare", "elec_filt_snare"),
    "hi-hat": ("hat_", "drum_cymbal_closed", "drum_cymbal_pedal"),
    "tabla": ("tabla_",),
    "drum loop": ("loop_", "arovane_"),
    "drone": ("ambi_", "tbd_pad", "guit_"),
}
# Loops that are no drums.
OTHERWISE = {"loop_drone_g_97": "drone"}


def class_of(name):
    if name in OTHERWISE:
        return OTHERWISE[name]
    return next((label for label, starts in CLASSES.items() if name.startswith(starts)), None)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[2].strip())
    folder = Path(sys.argv[1])
    print("fetching supersonic-scsynth-samples 0.84.2 (34 MB)", flush=True)
    try:
        with urllib.request.urlopen(ADDRESS, timeout=60) as answer:
            archive = answer.read()
    except OSError as problem:
        sys.exit(f"{ADDRESS} could not be read: {problem}; run this again when it can be reached")
    digest = hashlib.sha256(archive).hexdigest()
    if digest != SHA256:
        sys.exit(f"{ADDRESS} has the SHA-256 {digest} and not {SHA256}; another file was published there")
    kept = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            name = re.fullmatch(r"package/samples/([\w-]+)\.flac", member.name)
            label = name and class_of(name[1])
            if label:
                path = folder / label.replace(" ", "_") / f"{name[1]}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files.extractfile(member).read())
                kept[label] = kept.get(label, 0) + 1
    print(", ".join(f"{label} {number}" for label, number in sorted(kept.items())))


main()
