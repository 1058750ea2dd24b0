"""Compares two run directories: every record except times, and the weights bit by bit."""

import hashlib
import json
from pathlib import Path

# The columns that identify a row, by file.
KEYS = {
    "metrics.jsonl": ("step",),
    "rollouts.jsonl": ("phase", "suite", "step", "group", "index", "id"),
    "eval.jsonl": ("step", "suite"),
}
# Columns of the machine, not of the training.
OTHER = {"format_version"}


class Difference(Exception):
    """What differs, with one word for the table: lost, doubled, different, damaged."""

    def __init__(self, outcome, detail):
        super().__init__(detail)
        self.outcome = outcome


def run_dir(out):
    """The newest run directory in a folder that has a scenario; None if there is none."""
    folders = [path.parent for path in Path(out).glob("*/scenario.toml")]
    return max(folders, key=lambda path: path.stat().st_mtime, default=None)


def arms(run):
    """The arms' folders, by ARM/seed-N."""
    folders = sorted(path for path in Path(run).glob("*/seed-*") if path.is_dir())
    return {f"{path.parent.name}/{path.name}": path for path in folders}


def is_timing(name):
    return name.endswith("_seconds") or name.endswith("_per_second")


def plain(value):
    """The value without times."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items() if not is_timing(name) and name not in OTHER}
    return [plain(part) for part in value] if isinstance(value, list) else value


def rows(path):
    """The rows of a JSON-lines file; every line must be whole."""
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            raise Difference("damaged", f"{path}:{number} is not JSON") from None
    if not path.read_bytes().endswith(b"\n") and path.stat().st_size:
        raise Difference("damaged", f"{path}: the last line is incomplete")
    return found


def by_key(path):
    """The rows by what identifies them; a row that is there twice is a fault."""
    found = {}
    for row in rows(path):
        key = tuple(row.get(name) for name in KEYS[path.name])
        if key in found:
            raise Difference("doubled", f"{path}: {key} twice")
        found[key] = plain(row)
    return found


def status(arm):
    """The arm's status; empty if it has none."""
    try:
        return json.loads((arm / "status.json").read_bytes())
    except (OSError, ValueError):
        return {}


def newest_checkpoint(arm):
    found = [path for path in (arm / "checkpoints").glob("step-*") if not path.suffix]
    return max(found, default=None)


def tensors(arm):
    """The hash of each tensor file of the newest checkpoint."""
    folder = newest_checkpoint(arm)
    if folder is None:
        return None
    files = sorted(folder.glob("*.safetensors"))
    return folder.name, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same(expected, actual, only=None):
    """Raises Difference unless the arms of both runs have the same records, states and weights.

    An arm called `ahead` samples before it has trained (`max_staleness`), so its values depend on the machine's timing; it
    must have the same rows.
    """
    wanted, found = arms(expected), arms(actual)
    for name in wanted:
        if only is not None and name.split("/")[0] not in only:
            continue
        if name not in found:
            raise Difference("lost", f"{actual}: no folder {name}")
        same_arm(wanted[name], found[name], values=not name.startswith("ahead/"))


def same_arm(expected, actual, values):
    for name in KEYS:
        wanted, found = by_key(expected / name), by_key(actual / name)
        missing, surplus = wanted.keys() - found.keys(), found.keys() - wanted.keys()
        if missing:
            raise Difference("lost", f"{actual / name}: {len(missing)} rows, the first {min(map(str, missing))}")
        if surplus:
            raise Difference("doubled", f"{actual / name}: {len(surplus)} rows too many, {min(map(str, surplus))}")
        for key, row in wanted.items():
            if values and row != found[key]:
                columns = [column for column in row.keys() | found[key].keys() if row.get(column) != found[key].get(column)]
                raise Difference("different", f"{actual / name}: {key} differs in {', '.join(sorted(columns))}")
    fields = ("status", "step", "groups") if values else ("status", "step")
    states = [{field: status(arm).get(field) for field in fields} for arm in (expected, actual)]
    if states[0] != states[1]:
        raise Difference("different", f"{actual}/status.json: {states[1]}, not {states[0]}")
    if values and tensors(expected) != tensors(actual):
        raise Difference("different", f"{actual}: the weights of the last checkpoint differ")


def conserved(run):
    """Every dispatched group is trained on or excluded with a reason (CONDUCT-1), whatever went wrong."""
    for arm in arms(run).values():
        for row in by_key(arm / "metrics.jsonl").values():
            excluded = sum(row.get("groups_excluded", {}).values())
            if row["groups_dispatched"] != row["groups_trained"] + excluded:
                raise Difference("lost", f"{arm}: the groups of step {row['step']} do not add up")
