"""Opens exported files with the programs that they are for, and compares every value with the run's JSON lines.

    make exports
    python3 tests/exports/check.py RUN TABLES [--mlflow URL]    for tables that `sandbox export` wrote

The scalars are read by TensorBoard's EventAccumulator, the runs of Weights & Biases are uploaded by its own client to a server
that keeps them, those of MLflow are read by its client from its server; the tables, in all three formats, by pandas, Polars and DuckDB.
Exit code: 0 if all values are equal, else 1.
"""

import argparse
import gzip
import json
import math
import os
import re
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pandas
import polars
from mlflow import MlflowClient
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
    """The value of each tag and step."""
    scalars = {}
    for row in json_lines(folder / "metrics.jsonl"):
        for path, value in leaves(row, "/").items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and path not in ("step", "format_version"):
                scalars[f"train/{path}", row["step"]] = float(value)
    for row in json_lines(folder / "eval.jsonl"):
        suite = f"{row['suite']} ({row['control']})" if row.get("control") else row["suite"]
        for name, (total, count) in MEANS.items():
            if row["overall"][count]:
                mean = row["overall"][total] / row["overall"][count]
                scalars[f"eval/{suite}/{name}", row["step"]] = mean
    return scalars


def compare(program, arm, seed, found, expected):
    """Ends the check if a value differs; the number of values."""
    if found != expected:
        differing = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
        values = f"{found.get(differing[0])!r} instead of {expected.get(differing[0])!r}"
        sys.exit(f"{program}: {arm}, seed {seed}: {len(differing)} values differ, such as {differing[0]}: {values}")
    return len(found)


def check_events(run):
    compared = 0
    for arm, seed, folder in arms(run):
        events = run / "tensorboard" / arm / f"seed-{seed}"
        accumulator = EventAccumulator(str(events), size_guidance={"scalars": 0})
        accumulator.Reload()
        found = {}
        for tag in accumulator.Tags()["scalars"]:
            for event in accumulator.Scalars(tag):
                if (tag, event.step) in found:
                    sys.exit(f"{arm}, seed {seed}: {tag} has step {event.step} twice")
                found[tag, event.step] = event.value
        # TensorBoard keeps 32 bits.
        expected = {key: as_float_32(value) for key, value in expected_scalars(folder).items()}
        compared += compare("TensorBoard", arm, seed, found, expected)
    print(f"TensorBoard: {compared} scalars are equal")


class WandbServer(BaseHTTPRequestHandler):
    """The part of the server of Weights & Biases that `wandb sync` needs; it keeps what is uploaded."""

    protocol_version = "HTTP/1.1"
    runs = {}

    def log_message(self, *_):
        pass

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/graphql":
            return self.answer({"data": self.graphql(json.loads(body))})
        stream = re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path)
        if stream:
            sent, run = json.loads(body), self.runs[stream[1]]
            rows = sent.get("files", {}).get("wandb-history.jsonl", {})
            for place, row in enumerate(rows.get("content", []), rows.get("offset", 0)):
                run["rows"][place] = json.loads(row)
            run["exit"] = sent.get("exitcode", run["exit"])
        self.answer({})

    def graphql(self, request):
        given = request["variables"] or {}
        if "upsertBucket" in request["query"]:
            name = given["name"]
            run = self.runs.setdefault(name, {"rows": {}, "exit": None})
            run.update({key: given[key] for key in ("displayName", "groupName", "config") if given.get(key)})
            project = {"id": "1", "name": given["project"], "entity": {"id": "1", "name": "me"}}
            return {"upsertBucket": {"bucket": {"id": name, "name": name, "project": project}, "inserted": True}}
        if "createRunFiles" in request["query"]:
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": []}}
        return {"serverInfo": {"features": []}}


def check_wandb(run):
    server = ThreadingHTTPServer(("127.0.0.1", 0), WandbServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**os.environ, "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}", "WANDB_API_KEY": "local-" + "0" * 40}
    folders = sorted(path.resolve() for path in run.glob("wandb/offline-run-*"))
    wandb = Path(sys.executable).absolute().parent / "wandb"
    # It writes a log into the folder that it is run in.
    synced = subprocess.run([wandb, "sync", *folders], env=environment, cwd=run / "wandb", capture_output=True, text=True)
    if synced.returncode != 0:
        sys.exit(f"wandb sync: {synced.stdout}{synced.stderr}")
    uploaded = {found["displayName"]: found for found in WandbServer.runs.values()}
    compared = 0
    for arm, seed, folder in arms(run):
        found = uploaded.pop(f"{arm}/seed-{seed}")
        if found["groupName"] != run.name or "lr" not in found["config"] or found["exit"] != 0:
            sys.exit(f"Weights & Biases: {arm}, seed {seed}: {found['groupName']}, exit {found['exit']}, {found['config']}")
        values = {}
        for row in found["rows"].values():
            for name, value in row.items():
                if name != "step" and not name.startswith("_"):
                    if (name, row["step"]) in values:
                        sys.exit(f"Weights & Biases: {arm}, seed {seed}: {name} has step {row['step']} twice")
                    values[name, row["step"]] = value
        compared += compare("Weights & Biases", arm, seed, values, expected_scalars(folder))
    if uploaded:
        sys.exit(f"Weights & Biases: runs of no arm: {list(uploaded)}")
    print(f"Weights & Biases: {compared} values are equal")


def check_mlflow(run, url):
    client = MlflowClient(tracking_uri=url)
    compared = 0
    for arm, seed, folder in arms(run):
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        name = f"{run.name}/{arm}/seed-{seed}"
        found = client.search_runs(experiments, f"tags.`sandbox.arm` = '{name}'")
        if len(found) != 1 or found[0].info.status != "FINISHED" or found[0].data.params.get("seed") != str(seed):
            sys.exit(f"MLflow: {name}: {[(each.info.status, each.data.params.get('seed')) for each in found]}")
        expected = {(re.sub(r"[^\w\-. /]", "_", name), step): value for (name, step), value in expected_scalars(folder).items()}
        values = {}
        for key in {key for key, _ in expected}:
            for value in client.get_metric_history(found[0].info.run_id, key):
                if (key, value.step) in values:
                    sys.exit(f"MLflow: {name}: {key} has step {value.step} twice")
                values[key, value.step] = value.value
        compared += compare("MLflow", arm, seed, values, expected)
    print(f"MLflow: {compared} values are equal")


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
    parser.add_argument("tables", type=Path, help="the folder with the tables in all formats")
    parser.add_argument("--mlflow", metavar="URL", help="the server that the run was sent to")
    arguments = parser.parse_args()
    check_events(arguments.run)
    check_wandb(arguments.run)
    if arguments.mlflow:
        check_mlflow(arguments.run, arguments.mlflow)
    check_tables(arguments.run, arguments.tables)


if __name__ == "__main__":
    main()
