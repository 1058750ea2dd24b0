"""The fault campaign: `make faults`, or `SEED=7 QUICK=1 SANDBOX=target/release/sandbox python3 tests/faults`.

README.md beside this file has the variables. Exit code: 0 if nothing was lost, doubled, hung or different, else 1.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

# Importing a file of kinds registers them.
import arms, clients, damage, disks, judges, kills, owners, rewards, signals  # noqa: E401, F401
from case import KINDS, ROOT, Campaign, Case, Fault, Skip
from compare import Difference

FAILED = "failed"


def chosen(quick, wanted):
    """The cases: (kind, number), mixed so that each kind begins early. `wanted` is KIND or KIND/NUMBER, with commas."""
    if wanted:
        cases = []
        for word in wanted.split(","):
            name, _, number = word.partition("/")
            if name not in KINDS:
                sys.exit(f"error: there is no kind `{name}`; there are {', '.join(KINDS)}")
            count = KINDS[name].quick if quick else KINDS[name].full
            cases += [(name, int(number))] if number else [(name, each) for each in range(count)]
        return cases
    share = lambda each, count: (each + 0.5) / count
    cases = []
    for name, kind in KINDS.items():
        count = kind.quick if quick else kind.full
        cases += [(share(each, count), name, each) for each in range(count)]
    return [(name, each) for _, name, each in sorted(cases)]


def make(campaign, name, number):
    """Makes a case; its line of results.jsonl."""
    case, begin = Case(campaign, name, number), time.monotonic()
    outcome, detail = "ok", ""
    try:
        KINDS[name].make(case)
    except Skip as skip:
        outcome, detail = "skipped", str(skip)
    except (Fault, Difference) as fault:
        outcome, detail = fault.outcome, str(fault)
    except Exception as error:  # A mistake of the campaign must not pass for a success.
        outcome, detail = "error", f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - begin
    if outcome in ("ok", "skipped"):
        shutil.rmtree(case.dir, ignore_errors=True)
    detail = "; ".join([*case.notes, detail] if detail else case.notes)
    return {"case": f"{name}/{number}", "kind": name, "seed": campaign.seed, "outcome": outcome, "detail": detail,
            "seconds": round(seconds, 2), "kills": case.kills, "faults": case.faults}


def table(results):
    """The table at the end: a line per kind, and one for all."""
    kinds = defaultdict(list)
    for result in results:
        kinds[result["kind"]].append(result)
    lines = [f"{'kind':<20}{'cases':>7}{'faults':>8}{'kills':>7}{'ok':>6}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    for name, of_kind in [*sorted(kinds.items()), ("all", results)]:
        outcomes = Counter(result["outcome"] for result in of_kind)
        failed = len(of_kind) - outcomes["ok"] - outcomes["skipped"]
        total = lambda field: sum(result[field] for result in of_kind)
        lines.append(f"{name:<20}{len(of_kind):>7}{total('faults'):>8}{total('kills'):>7}{outcomes['ok']:>6}{failed:>8}"
                     f"{outcomes['skipped']:>9}{total('seconds'):>9.0f}")
    return "\n".join(lines)


def main():
    env = os.environ
    quick, seed, jobs = env.get("QUICK", "") not in ("", "0"), int(env.get("SEED", 7)), int(env.get("JOBS", 2))
    binary = Path(env.get("SANDBOX", ROOT / "target/release/sandbox"))
    if not binary.is_file():
        sys.exit(f"error: {binary}: no such program; build it, or name another in SANDBOX")
    out = Path(env.get("OUT", ROOT / "target/faults"))
    campaign = Campaign(binary, out, seed, quick)
    campaign.policy = ROOT / "scenarios/tiny"
    campaign.limit = float(env.get("LIMIT", 120))
    shutil.rmtree(campaign.work, ignore_errors=True)
    campaign.work.mkdir(parents=True)
    cases, results, lock = chosen(quick, env.get("CASE", "")), [], threading.Lock()

    with open(campaign.out / "results.jsonl", "w") as file, ThreadPoolExecutor(jobs) as pool:

        def one(case):
            result = make(campaign, *case)
            with lock:
                results.append(result)
                file.write(json.dumps(result) + "\n")
                file.flush()
                if result["outcome"] != "ok" or sys.stdout.isatty():
                    print(f"{len(results)}/{len(cases)} {result['case']}: {result['outcome']}; {result['detail']}", flush=True)

        try:
            list(pool.map(one, cases))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in list(campaign.children):
                child.send_signal(signal.SIGKILL)
            raise
    finish(campaign, results)


def finish(campaign, results):
    text = table(results)
    (campaign.out / "table.txt").write_text(text + "\n")
    print(text)
    outcomes = Counter(result["outcome"] for result in results)
    skipped, ok = outcomes.pop("skipped", 0), outcomes.pop("ok", 0)
    if skipped:
        reasons = sorted({result["detail"] for result in results if result["outcome"] == "skipped"})
        print(f"SKIPPED {skipped} cases: {'; '.join(reasons)}")
    if outcomes:
        causes = ", ".join(f"{count} {name}" for name, count in outcomes.most_common())
        print(f"{FAILED}: {causes}; what they left is in {campaign.work}; repeat one with CASE=KIND/NUMBER SEED={campaign.seed}")
    print(f"{ok} passed, {sum(outcomes.values())} failed, {skipped} skipped")
    sys.exit(1 if outcomes else 0)


main()
