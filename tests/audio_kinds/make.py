"""Makes a file of every kind: `python3 tests/audio_kinds/make.py OUT_DIR [--short] [--only GLOB]`.

Writes OUT_DIR/files and OUT_DIR/manifest.jsonl; README.md beside this file has the fields. Kinds whose tool is missing are named
on standard error and left out of the manifest.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from kit import Kinds

FILES = ("kinds_wav", "kinds_wav_odd", "kinds_pcm", "kinds_flac", "kinds_mpeg", "kinds_aac", "kinds_ogg", "kinds_matroska", "kinds_named", "kinds_extension")


def make(folder, short=False, only="*"):
    kinds = Kinds(Path(folder), short, only)
    for name in FILES:
        importlib.import_module(name).declare(kinds)
    kinds.write_manifest()
    return kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--short", action="store_true", help="fewer kinds, in seconds")
    parser.add_argument("--only", default="*", metavar="GLOB", help="kinds or families to make, such as 'mp3_*'")
    arguments = parser.parse_args()
    kinds = make(arguments.out_dir, arguments.short, arguments.only)
    families = len({entry["family"] for entry in kinds.entries})
    print(f"{len(kinds.entries)} kinds in {families} families; {len(kinds.skipped)} skipped")
    if not kinds.entries:
        sys.exit("error: nothing was made")


if __name__ == "__main__":
    main()
