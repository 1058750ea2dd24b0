"""Compares what the sandbox hears with ffmpeg: `python3 tests/audio_kinds/compare.py DIR --sandbox PATH`, DIR made by make.py.

README.md beside this file has the limits and the results. Exit code: 0 if no file is heard wrongly and at least 98 % of the kinds
that must be heard are, and of those that must be named are named; else 1.
"""

import argparse
import fnmatch
import os
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
import sound
from reference import Reference

# Of ten thousand files one must not be able to stop the comparison.
BATCH, BATCH_SECONDS, FILE_SECONDS = 50, 600, 60


class Listener:
    """The program under test: `PROGRAM listen --json --whole --downmix mean --wav-dir DIR FILE…`."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def call(self, files, seconds):
        """What it printed of these files, in order, and why it stopped too early, if it did."""
        wavs = Path(tempfile.mkdtemp(dir=self.folder))
        command = [self.program, "listen", "--json", "--whole", "--downmix", "mean", "--wav-dir", str(wavs), *map(str, files)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as late:
            return rows_of(late.stdout or b"")[:len(files)], f"no end after {seconds} s"
        rows = rows_of(done.stdout)
        if done.returncode in (0, 1) and len(rows) == len(files):
            failed = any("error" in row for row in rows)
            return rows, None if failed == bool(done.returncode) else f"exit status {done.returncode} with {'an' if failed else 'no'} error"
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        return rows, f"crash: exit status {done.returncode}, {len(rows)} of {len(files)} files: {last[0][:200]}"

    def hear(self, files):
        """One row per file. If a call ends early, its files are tried one at a time to find the one that stops it."""
        heard = []
        for start in range(0, len(files), BATCH):
            batch = files[start:start + BATCH]
            rows, stopped = self.call(batch, BATCH_SECONDS)
            if stopped is None and all(same_file(row, file) for row, file in zip(rows, batch)):
                heard += rows
            else:
                heard += [self.alone(file) for file in batch]
        return heard

    def alone(self, file):
        rows, stopped = self.call([file], FILE_SECONDS)
        if stopped is None and same_file(rows[0], file):
            return rows[0]
        return {"file": str(file), "crash": stopped or f"its row is of another file: {rows[0]}"}


def same_file(row, file):
    return Path(row.get("file", "")).name == file.name


def rows_of(output):
    rows = []
    for line in output.decode(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


class Verdict:
    """`result`: equal, named, wrong or refused."""

    def __init__(self, entry, result, detail="", row=None, notes=()):
        self.entry, self.result, self.detail, self.row, self.notes = entry, result, detail, row or {}, list(notes)


def judge(entry, row, reference):
    """What the program made of one file."""
    if "crash" in row:
        return Verdict(entry, "wrong", row["crash"], row)
    if "error" in row:
        return judge_error(entry, row)
    try:
        wav = sound.read_wav(Path(row["wav"]).read_bytes())
    except (KeyError, TypeError, OSError, AssertionError) as error:
        return Verdict(entry, "wrong", f"no WAV that can be read: {error!r}", row)
    if (wav.rate, wav.channels) != (sound.RATE, 1):
        return Verdict(entry, "wrong", f"its WAV has {wav.rate} Hz and {wav.channels} channels", row)
    truths = reference.truths(entry)
    if not truths:
        return Verdict(entry, "wrong", f"{wav.frames / sound.RATE:.3f} s were heard where ffmpeg decodes nothing", row)
    differences = [(name, sound.difference(wav.samples, truth.samples, entry["lossless"], most_length(entry, truth))) for name, truth in truths]
    # Of several references the nearest counts.
    name, best = min(differences, key=lambda each: (len(each[1].faults), -each[1].correlation))
    if best.faults:
        shift = sound.find_shift(wav.samples, dict(truths)[name].samples) if "sound" in best.faults else None
        late = f"; the same sound {shift:+d} samples late" if shift else ""
        return Verdict(entry, "wrong", f"{best} against {name}{late}", row)
    return Verdict(entry, "equal", str(best), row, notes_of(entry, row, wav, dict(truths)[name]))


def judge_error(entry, row):
    text = str(row["error"])
    if entry["expect"] == "equal":
        return Verdict(entry, "refused", text, row)
    # The path must not make a message clear.
    message = text.replace(entry["file"], "").replace(Path(entry["file"]).name, "")
    if any(name.lower() in message.lower() for name in entry["names"]):
        return Verdict(entry, "named", text, row)
    return Verdict(entry, "refused", f"the error says nothing of {' or '.join(entry['names'])}: {text}", row)


def most_length(entry, truth):
    """By how many samples at 16 kHz the length may differ."""
    if entry["lossless"] and entry["frame"] is None:
        return 1
    return max((entry["frame"] or 1152) * sound.RATE / truth.rate, sound.RATE / 1000) + 1


def notes_of(entry, row, wav, truth):
    """What is odd about a file that was heard rightly."""
    kinds = [str(warning.get("kind")) for warning in row.get("warnings") or []]
    if entry["warning"] and not kinds:
        yield f"no warning, where one of `{entry['warning']}` is due"
    if not entry["warning"] and kinds:
        yield f"warns of {', '.join(kinds)}: {row['warnings'][0].get('text')}"
    seconds = row.get("seconds")
    if not isinstance(seconds, (int, float)) or abs(seconds - wav.frames / sound.RATE) > 0.002:
        yield f"says {seconds} s, and its WAV has {wav.frames / sound.RATE:.3f} s"
    if entry["lossless"] and len(entry["reference"]) == 1 and (row.get("rate"), row.get("channels")) != (truth.rate, truth.channels):
        yield f"says {row.get('rate')} Hz and {row.get('channels')} channels, the file has {truth.rate} and {truth.channels}"


def check_reference(entry, reference):
    """Whether ffmpeg's own decoding holds the sound that the file was made from: only a check of this kit."""
    if not entry["source"] or entry["expect"] == "named":
        return None
    truths = reference.truths(entry)
    if not truths:
        return "ffmpeg decodes nothing" if entry["expect"] == "equal" else None
    source = reference.sound(reference.folder / entry["source"])
    lossless, most = entry["lossless"], 1152 * 4 * sound.RATE / truths[0][1].rate
    if entry["parts"] or entry["seconds"] is None:
        most = 1e9
    faults = []
    for name, truth in truths:
        found = sound.difference(truth.samples, source.samples, lossless, 1 if lossless else most, least_correlation=None if lossless else 0.8)
        if "sound" in found.faults and not lossless:
            shift = sound.find_shift(truth.samples, source.samples, least=0.0)
            found = sound.difference(truth.samples[shift:], source.samples, False, most, least_correlation=0.8) if shift and shift > 0 else found
        faults.append(f"{name}: {found}" if set(found.faults) - {"level"} or lossless and found.faults else None)
    return None if None in faults else "; ".join(faults)


def parallel(jobs, function, items):
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(function, items))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sandbox", metavar="PATH", help="the program to compare")
    parser.add_argument("--only", default="*", metavar="GLOB", help="kinds or families to compare")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write what is decoded and what is refused to a Markdown file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="files to decode at once")
    parser.add_argument("--check-reference", action="store_true", help="compare ffmpeg with the sounds that the files were made from; needs no sandbox")
    chosen = parser.parse_args(arguments)
    manifest = [json.loads(line) for line in (chosen.folder / "manifest.jsonl").read_text().splitlines()]
    entries = [entry for entry in manifest if any(fnmatch.fnmatch(entry[key], chosen.only) for key in ("name", "family"))]
    if not entries:
        sys.exit(f"error: no kind of {chosen.folder} matches {chosen.only}")
    reference = Reference(chosen.folder)
    if chosen.check_reference:
        def check(entry):
            fault = check_reference(entry, reference)
            if fault:
                print(f"{entry['name']} ({entry['expect']}): {fault}", flush=True)
            return fault and entry["expect"] == "equal"

        faults = parallel(chosen.jobs, check, entries)
        print(f"{len(entries)} kinds, {sum(map(bool, faults))} that must be heard have a doubtful reference")
        return int(any(faults))
    if not chosen.sandbox:
        parser.error("--sandbox PATH is required")
    with tempfile.TemporaryDirectory() as folder:
        rows = Listener(chosen.sandbox, folder).hear([chosen.folder / entry["file"] for entry in entries])
        verdicts = parallel(chosen.jobs, lambda pair: judge(*pair, reference), list(zip(entries, rows)))
    print(report.text(verdicts))
    if chosen.table:
        report.write_table(chosen.table, verdicts)
    return 0 if report.passed(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
