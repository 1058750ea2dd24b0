"""What a comparison prints, and the table of formats for docs/audio.md."""

from collections import Counter, defaultdict

RESULTS = ("equal", "named", "wrong", "refused")
LEAST_SHARE = 0.98

BEGIN, END = "<!-- audio kinds: begin (tests/audio_kinds/compare.py --table) -->", "<!-- audio kinds: end -->"


def shares(verdicts):
    """Of the kinds that must be heard, and of those that must be named or heard, how many are."""
    for expect, right in (("equal", {"equal"}), ("named", {"named", "equal"}), ("either", {"named", "equal"})):
        of_them = [verdict for verdict in verdicts if verdict.entry["expect"] == expect]
        yield expect, sum(verdict.result in right for verdict in of_them), len(of_them)


def passed(verdicts):
    enough = all(right >= LEAST_SHARE * count for _, right, count in shares(verdicts))
    return enough and not any(verdict.result == "wrong" for verdict in verdicts)


def text(verdicts):
    families = defaultdict(Counter)
    for verdict in verdicts:
        families[verdict.entry["family"]][verdict.result] += 1
    width = max(map(len, families)) + 2
    lines = ["family".ljust(width) + "kinds".rjust(7) + "".join(result.rjust(9) for result in RESULTS)]
    total = sum(families.values(), Counter())
    for family, counts in [*families.items(), ("all", total)]:
        lines.append(family.ljust(width) + f"{counts.total():7}" + "".join(f"{counts[result] or '·':>9}" for result in RESULTS))
    for title, wanted in (("heard wrongly", "wrong"), ("refused, or refused without naming the reason", "refused")):
        found = [verdict for verdict in verdicts if verdict.result == wanted]
        if found:
            lines += ["", f"{title}:"] + [f"  {verdict.entry['name']}: {verdict.detail}" for verdict in found]
    noted = [(verdict.entry["name"], note) for verdict in verdicts for note in verdict.notes]
    if noted:
        lines += ["", "heard rightly, but:"] + [f"  {name}: {note}" for name, note in noted]
    lines.append("")
    meaning = {"equal": "must be heard, and are", "named": "must be named, and are named or heard", "either": "may be heard or named, and are"}
    for expect, right, count in shares(verdicts):
        if count:
            lines.append(f"{right} of {count} ({right / count:.1%}) {meaning[expect]}")
    lines.append("passed" if passed(verdicts) else f"FAILED: no kind may be heard wrongly, and {LEAST_SHARE:.0%} of each line above are required")
    return "\n".join(lines)


def table(verdicts):
    """One row per container and codec."""
    groups = defaultdict(list)
    for verdict in verdicts:
        if verdict.entry["codec"] != "none" and "truncated" not in verdict.entry["names"]:
            groups[verdict.entry["container"], verdict.entry["codec"]].append(verdict)
    rows = ["| Container | Codec | Kinds | Result |", "|---|---|---|---|"]
    for (container, codec), group in sorted(groups.items(), key=lambda item: (item[0][0].lower(), item[0][1].lower())):
        counts = Counter(verdict.result for verdict in group)
        rows.append(f"| {container} | {codec} | {len(group)} | {outcome(group, counts)} |")
    return "\n".join(rows) + "\n"


def outcome(group, counts):
    words = {"equal": "decoded", "named": "refused by name", "wrong": "**wrong**", "refused": "refused"}
    if len(counts) == 1:
        only = next(iter(counts))
        if only in ("named", "refused"):
            return f"{words[only]}: {short_error(group[0])}"
        return words[only]
    return ", ".join(f"{counts[result]} {words[result]}" for result in RESULTS if counts[result])


def short_error(verdict):
    """The message without the path, whose place differs from one machine to the next."""
    message = str(verdict.row.get("error", ""))
    name = verdict.entry["file"].rsplit("/", 1)[-1]
    message = message.split(f"{name}: ", 1)[-1]
    return "`" + message.replace("|", "\\|").replace("`", "'")[:160] + "`"


def write_table(path, verdicts):
    """Replaces what lies between the markers, if the file has them; else the file is the table."""
    block = f"{BEGIN}\n{table(verdicts)}{END}\n"
    old = path.read_text() if path.exists() else ""
    if BEGIN in old and END in old:
        before, rest = old.split(BEGIN, 1)
        block = before + block + rest.split(END, 1)[1].removeprefix("\n")
    elif old:
        raise SystemExit(f"error: {path} has no line `{BEGIN}`; add it and `{END}` where the table is to stand")
    path.write_text(block)
