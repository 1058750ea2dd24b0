"""Opens exported files with the programs that they are for, and compares every value with the run's JSON lines.

    make exports
    python3 tests/exports/check.py RUN RUN/tensorboard TABLES    for tables that `sandbox export` wrote

The scalars are read by TensorBoard's EventAccumulator; the tables, in all three formats, by pandas, Polars and DuckDB.
Exit code: 0 if all values are equal, else 1.
"""

import argparse
import json
import math
import struct
import sys
from pathlib import Path

import duckdb
import pandas
import polars
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TABLES = {"steps": "metrics.jsonl", "evaluations": "eval.jsonl", "rollouts": "rollouts.jsonl"}

# The sum and the number of each mean of an evaluation.
MEANS = {
    "accuracy": ("correct", "n"),
    "think_rate": ("think", "n"),
    "consistency": ("consistency_sum", "consistency_n"),
    "think_quality": ("think_quality_sum", "think_quality_n"),
    "completion_tokens": ("completion_tokens", "n"),
}


def arms(run):
    """The folders of the arms as the tables list them: sorted by name, then by seed."""
    found = [(path.parent.name, int(path.name.removeprefix("seed-")), path) for path in run.glob("*/seed-*")]
    return sorted(found, key=lambda arm: (arm[0].encode(), arm[1]))


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def leaves(row, separator):
    """The row without nesting: the names that lead to a value, joined, and the value."""
    flat = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat.update({f"{name}{separator}{path}": inner for path, inner in leaves(value, separator).items()})
        else:
            flat[name] = value
    return flat


def as_float_32(number):
    return struct.unpack("f", struct.pack("f", number))[0]


def expected_scalars(folder):
    """The value of each tag and step, as TensorBoard must show it."""
    scalars = {}
    for row in json_lines(folder / "metrics.jsonl"):
        for path, value in leaves(row, "/").items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and path not in ("step", "format_version"):
                scalars[f"train/{path}", row["step"]] = as_float_32(value)
    for row in json_lines(folder / "eval.jsonl"):
        suite = f"{row['suite']} ({row['control']})" if row.get("control") else row["suite"]
        for name, (total, count) in MEANS.items():
            if row["overall"][count]:
                mean = row["overall"][total] / row["overall"][count]
                scalars[f"eval/{suite}/{name}", row["step"]] = as_float_32(mean)
    return scalars


def check_events(run, events):
    compared = 0
    for arm, seed, folder in arms(run):
        accumulator = EventAccumulator(str(events / arm / f"seed-{seed}"), size_guidance={"scalars": 0})
        accumulator.Reload()
        found = {}
        for tag in accumulator.Tags()["scalars"]:
            for event in accumulator.Scalars(tag):
                if (tag, event.step) in found:
                    sys.exit(f"{arm}, seed {seed}: {tag} has step {event.step} twice")
                found[tag, event.step] = event.value
        expected = expected_scalars(folder)
        if found != expected:
            differing = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
            sys.exit(f"{arm}, seed {seed}: {len(differing)} scalars differ, such as {differing[0]}")
        compared += len(found)
    print(f"TensorBoard: {compared} scalars are equal")


def cell(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, list) else value


def expected_rows(run, file):
    rows = []
    for arm, seed, folder in arms(run):
        for row in json_lines(folder / file):
            cells = {name: cell(value) for name, value in leaves(row, ".").items()}
            rows.append({"arm": arm, "seed": seed, **cells})
    return rows


def with_pandas(path):
    read = {
        ".parquet": pandas.read_parquet,
        ".csv": pandas.read_csv,
        ".jsonl": lambda path: pandas.read_json(path, lines=True, dtype=False, precise_float=True),
    }
    return read[path.suffix](path).astype(object).to_dict("records")


def with_polars(path):
    read = {
        ".parquet": polars.read_parquet,
        ".csv": lambda path: polars.read_csv(path, infer_schema_length=None),
        ".jsonl": lambda path: polars.read_ndjson(path, infer_schema_length=None),
    }
    return read[path.suffix](path).to_dicts()


def with_duckdb(path):
    read = {
        ".parquet": f"read_parquet('{path}')",
        ".csv": f"read_csv('{path}', sample_size=-1)",
        ".jsonl": f"read_json('{path}', sample_size=-1)",
    }
    table = duckdb.sql(f"from {read[path.suffix]}")
    return [dict(zip(table.columns, row)) for row in table.fetchall()]


def is_null(value):
    return value is None or value is pandas.NA or isinstance(value, float) and math.isnan(value)


def equal(found, expected, suffix):
    """Whether a cell has the record's value. Readers of CSV and JSON guess the type of a column, so that a text may come back as
    the number that it is; CSV has no difference between null and the empty text."""
    if is_null(found) or expected is None:
        return is_null(found) and (expected is None or suffix == ".csv" and expected == "")
    if isinstance(expected, str) and suffix != ".parquet":
        return str(found) == expected or not isinstance(found, str) and float(found) == float(expected)
    return found == expected


def check_tables(run, tables):
    for name, file in TABLES.items():
        expected = expected_rows(run, file)
        for suffix in (".parquet", ".csv", ".jsonl"):
            path = tables / f"{name}{suffix}"
            for program, read in (("pandas", with_pandas), ("Polars", with_polars), ("DuckDB", with_duckdb)):
                rows = read(path)
                if len(rows) != len(expected):
                    sys.exit(f"{path} in {program}: {len(rows)} rows instead of {len(expected)}")
                for number, (found, row) in enumerate(zip(rows, expected), 1):
                    for column in {**found, **row}:
                        if column not in found or not equal(found[column], row.get(column), path.suffix):
                            values = f"{found.get(column)!r} instead of {row.get(column)!r}"
                            sys.exit(f"{path} in {program}, row {number}, {column}: {values}")
                print(f"{program}: {path.name}: {len(rows)} rows are equal")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the run directory")
    parser.add_argument("events", type=Path, help="the folder with the event files, ARM/seed-SEED/")
    parser.add_argument("tables", type=Path, help="the folder with the tables in all formats")
    arguments = parser.parse_args()
    check_events(arguments.run, arguments.events)
    check_tables(arguments.run, arguments.tables)


if __name__ == "__main__":
    main()
