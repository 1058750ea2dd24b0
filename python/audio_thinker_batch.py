"""A batch of completions as reward code sees it, and what the code gives back: scores, metrics, records, errors."""

import math
import numbers
import traceback
from types import SimpleNamespace

__all__ = ["FIELDS", "NAMED_HERE", "AllFailed", "Batch", "Record", "SettingError", "finite", "listed", "number", "single"]

# The fields of a completion that every plug-in gets, as docs/plugins.md lists them.
FIELDS = (
    "group id question choices answer_gold audio_path start end duration_seconds difficulty kind reasoning_steps completion mode "
    "think answer well_formed correct correct_official correct_lenient consistency think_quality tokens truncated metadata"
).split()
BATCH_FIELDS = ("step", "total_steps", "group_size")
# Fields that a function names only if it was written for this project.
NAMED_HERE = set(FIELDS) - set("completion metadata id question choices kind difficulty start end group".split())


class Record:
    """What a reward tells beside its scores, for one batch."""

    def __init__(self, size):
        self.size = size
        self.sums = {}
        self.extras = {}
        self.errors = {}
        self.warnings = []

    def log_metric(self, name, value):
        """Adds a number about the whole batch to the mean of a metric."""
        self.add(name, value, self.size)

    def add(self, name, value, completions=1):
        """Adds a number about so many completions to the mean of a metric."""
        number = finite(value)
        if number is None:
            self.warn("the metric `%s` is left out where it is no finite number, such as %s" % (name, short(value)))
            return
        total, count = self.sums.get(str(name), (0.0, 0))
        self.sums[str(name)] = (total + number * completions, count + completions)

    def log_extra(self, column, values):
        """Adds values, one for each completion, to the record of the completions."""
        values = values.tolist() if hasattr(values, "tolist") else values
        self.extras.setdefault(str(column), []).extend(_json(value) for value in values)

    def warn(self, text):
        if text not in self.warnings:
            self.warnings.append(text)

    def failed(self, errors):
        """These completions have no score, because of an exception.

        Raises `AllFailed` if no completion is left."""
        for place, error in errors.items():
            if not self.errors:
                traceback.print_exception(type(error), error, error.__traceback__)
            self.errors.setdefault(place, "%s: %s" % (type(error).__name__, error))
        if self.errors and len(self.errors) == self.size:
            raise AllFailed(self.errors[0])

    def fields(self):
        """The optional fields of the message `scores`."""
        for column in [column for column, values in self.extras.items() if len(values) != self.size]:
            count = len(self.extras.pop(column))
            self.warn("log_extra gave `%s` %d values for %d completions; it is left out" % (column, count, self.size))
        means = {name: total / count for name, (total, count) in self.sums.items() if count}
        weights = {name: count for name, (_, count) in self.sums.items() if count != self.size}
        fields = {"metrics": means, "metric_weights": weights, "extras": self.extras, "warnings": self.warnings}
        fields["errors"] = {str(place): text for place, text in self.errors.items()}
        return {name: value for name, value in fields.items() if value}


class Batch:
    """The completions of a `score` message, as columns."""

    def __init__(self, message):
        self.message = message
        self.items = message["items"]
        self.rows = [item.get("metadata") or {} for item in self.items]
        self.data = {}
        for row in self.rows:
            for name in row:
                self.data.setdefault(name, None)
        self.data = {name: [row.get(name) for row in self.rows] for name in self.data}
        self.golds = self.column("answer_gold")
        self.texts = self.column("completion")

    def column(self, name):
        return [item.get(name) for item in self.items]

    def prompts(self, conversational):
        texts = [_prompt(item) for item in self.items]
        return [[{"role": "user", "content": text}] for text in texts] if conversational else texts

    def completions(self, conversational):
        return [[{"role": "assistant", "content": text}] for text in self.texts] if conversational else self.texts

    def gold(self, name):
        """The right answers: the data's column of that name, or else the gold."""
        return self.data.get(name, self.golds)

    def own(self, options):
        """This project's own columns."""
        columns = {name: self.column(name) for name in set().union(*self.items)} if self.items else {}
        columns.pop("completion_ids", None)
        columns.update((name, self.message.get(name)) for name in BATCH_FIELDS)
        columns["options"] = options
        return columns

    def trainer_state(self):
        return SimpleNamespace(
            global_step=self.message.get("step"),
            max_steps=self.message.get("total_steps"),
            epoch=None,
            num_train_epochs=1,
            log_history=[],
            is_local_process_zero=True,
            is_world_process_zero=True,
        )

    def row_info(self, place, column):
        """What is known of a completion and its row; entries of the row's own dictionary `column` come first."""
        info = {name: value for name, value in self.items[place].items() if name not in ("metadata", "completion_ids")}
        info.update(self.rows[place])
        own = self.rows[place].get(column)
        if isinstance(own, dict):
            info.update(own)
        info["metadata"] = self.rows[place]
        return info


class SettingError(Exception):
    """A setting of the scenario is wrong, which no completion can make up for."""


class AllFailed(Exception):
    """The function failed for every completion. The text names the exception of the first."""


def listed(scores):
    """The scores of a batch as a list."""
    wanted = "return a list with a number or None per completion"
    if scores is None:
        raise TypeError("the function returned None; " + wanted)
    for convert in ("tolist", "to_list"):
        if hasattr(scores, convert):
            scores = getattr(scores, convert)()
            break
    if isinstance(scores, (str, bytes, dict, set, frozenset)) or not hasattr(scores, "__iter__"):
        raise TypeError("the function returned %s; %s" % (short(scores), wanted))
    return list(scores)


def number(score, place):
    """A score of a list as a float; `None` is none."""
    if score is None:
        return None
    try:
        return float(score)
    except (TypeError, ValueError):
        raise TypeError("score %d is %s; return a number or None per completion" % (place, short(score))) from None


def single(score, wanted):
    """The score of one completion."""
    if score is None:
        return None
    if isinstance(score, str) or isinstance(score, (list, tuple, dict)) or getattr(score, "ndim", 0):
        raise TypeError("it returned %s; return %s" % (short(score), wanted))
    try:
        return float(score)
    except (TypeError, ValueError):
        raise TypeError("it returned %s; return %s" % (short(score), wanted)) from None


def _prompt(item):
    """Returns the question and its lettered choices as text."""
    lines = [item.get("question") or ""]
    lines += ["(%s) %s" % (chr(ord("A") + place), choice) for place, choice in enumerate(item.get("choices") or [])]
    return "\n".join(lines)


def finite(value):
    """A finite number, or `None`."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return value if math.isfinite(value) else None


def _json(value):
    """The value as JSON can express it; what it can't, as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value) if abs(int(value)) < 2**63 else str(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, dict):
        return {str(name): _json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(one) for one in value]
    return str(value)


def short(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:79] + "…"
