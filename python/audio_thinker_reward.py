"""Turns a Python function into a reward for the Audio-Thinker sandbox. No dependencies; Python 3.8 or newer.

Lists in, a list of numbers out, `None` where there is no score. Code written for TRL, verl, ms-swift, verifiers and evaluate runs as
it is (audio_thinker_conventions.py).

    def reward(completions, **columns):
        return [1.0 - len(text) / 500 for text in completions]

A scenario needs nothing but the file:

    [rewards.brevity]
    kind = "python"
    file = "brevity.py"          # function = "reward" is the default

A file that ends with `serve(reward)` is a program, configured as `kind = "process"`:

    [rewards.brevity]
    kind = "process"
    command = ["python3", "brevity.py"]

The columns are lists with one entry per completion: `prompts`, every field of a completion (see docs/plugins.md: `question`,
`choices`, `answer_gold`, `audio_path`, `duration_seconds`, `mode`, `think`, `answer`, `correct`, ...), and every metadata column of
the data. `step`, `total_steps`, `group_size` and `options` are single values. A function without `**columns` gets only the
arguments that it names. `async def` works too. What the function prints goes to the run's log.
"""

import argparse
import importlib.util
import json
import math
import os
import sys
import traceback

from audio_thinker_batch import FIELDS, AllFailed, Batch, Record, SettingError, number
from audio_thinker_conventions import CONVENTIONS, caller
from audio_thinker_find import find, names
from audio_thinker_shape import convention_of
from audio_thinker_stand_ins import installed, other_version

__all__ = ["serve"]

PROTOCOL = 1

# True while `python3 -m audio_thinker_reward FILE` loads the file: a `serve(reward)` at its end must then do nothing.
_loading = False


def serve(function, conversational=None, convention="native", entry=None):
    """Answers requests on standard input until it ends.

    With `conversational`, each completion and each prompt is a list of messages, as TRL passes them for chat models. `convention` is
    one of `native`, `trl`, `verl`, `swift`, `verifiers`, `evaluate` and `auto`; `entry` names the score in what `compute` returns.
    """
    if _loading:
        return
    requests, replies = _take_pipes()
    send = _sender(replies)
    scorer = None
    # `for line in requests` would read ahead and delay the answer.
    for line in iter(requests.readline, ""):
        if not line.strip():
            continue
        message = json.loads(line)
        kind = message.get("type")
        if kind == "hello":
            if message.get("protocol") != PROTOCOL:
                send({"type": "error", "message": "this module speaks protocol %d only" % PROTOCOL})
                return
            try:
                chosen = convention_of(function, conversational) if convention == "auto" else convention
                scorer = _Scorer(caller(chosen, function, message.get("options") or {}, conversational, entry))
            except Exception as error:
                traceback.print_exc()
                send({"type": "error", "message": _text(error)})
                return
            send(scorer.ready())
        elif kind == "score":
            try:
                send(scorer.score(message))
            except Exception as error:
                traceback.print_exc()
                send({"type": "error", "id": message.get("id"), "message": _text(error)})


def _text(error):
    if isinstance(error, (AllFailed, SettingError)):
        return str(error)
    return other_version(error) or "%s: %s" % (type(error).__name__, error)


def _take_pipes():
    """Reserves standard input and output for the protocol and sends all other output, also of C libraries, to standard error."""
    sys.stdout.flush()
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8", newline="\n")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, replies


def _sender(replies):
    def send(message):
        replies.write(json.dumps(message, allow_nan=False) + "\n")
        replies.flush()

    return send


class _Scorer:
    """Scores batches with a caller, and says each warning once."""

    def __init__(self, caller):
        self.caller = caller
        self.warned = set()

    def ready(self):
        """The message that says how the function is called."""
        message = {"type": "ready", "protocol": PROTOCOL, "convention": self.caller.convention, "call": self.caller.call}
        if self.caller.columns:
            message["columns"] = FIELDS + list(self.caller.columns)
        return message

    def score(self, message):
        """The answer to a `score` message."""
        batch = Batch(message)
        record = Record(len(batch.items))
        scores = [number(score, place) for place, score in enumerate(self.caller.score(batch, record))]
        answer = {"type": "scores", "id": message["id"], "scores": [_json_number(score) for score in scores]}
        answer.update(record.fields())
        new = self.say(answer.pop("warnings", []))
        return dict(answer, warnings=new) if new else answer

    def say(self, warnings):
        """Those of the warnings that were not given yet."""
        new = [text for text in warnings if text not in self.warned]
        self.warned.update(new)
        return new


def _json_number(score):
    # JSON has no NaN; the sandbox reads this word as "not a number".
    return score if score is None or math.isfinite(score) else "NaN"


def _load(target, convention):
    """Loads what a target such as `file.py:function` names."""
    path, _, name = target.rpartition(":")
    if not path:
        path, name = target, "reward"
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise SystemExit("there is no file %s" % path)
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with installed():
        try:
            spec.loader.exec_module(module)
        except AttributeError as error:
            advice = other_version(error)
            if advice is None:
                raise
            raise SystemExit(advice) from None
    found = find(module, name, convention)
    if found is None:
        has = names(module)
        advice = "; write one of them as `function`" if has else ""
        raise SystemExit("%s has no function `%s`; it has %s%s" % (path, name, ", ".join(has) or "none", advice))
    return found


def _main():
    global _loading
    parser = argparse.ArgumentParser(prog="python3 -m audio_thinker_reward", description="Serve a function as a reward.")
    parser.add_argument("target", help="file.py:function")
    parser.add_argument("--convention", default="auto", choices=["auto"] + list(CONVENTIONS), help="how it is called")
    parser.add_argument("--conversational", action="store_true", default=None, help="completions as lists of messages")
    parser.add_argument("--plain", dest="conversational", action="store_false", help="completions as texts")
    parser.add_argument("--entry", help="the score among what `compute` returns")
    arguments = parser.parse_args()
    # Output of the file while it is loaded must not end up in the protocol.
    _loading = True
    saved = os.dup(1)
    os.dup2(2, 1)
    target = _load(arguments.target, arguments.convention)
    sys.stdout.flush()
    os.dup2(saved, 1)
    os.close(saved)
    _loading = False
    serve(target, arguments.conversational, arguments.convention, arguments.entry)


if __name__ == "__main__":
    # Under `-m` this file is `__main__`; make `import audio_thinker_reward` in the reward file find it.
    sys.modules.setdefault("audio_thinker_reward", sys.modules["__main__"])
    _main()
