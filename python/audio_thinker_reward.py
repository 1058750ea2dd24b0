"""Turns a Python function into a reward for the Audio-Thinker sandbox. No dependencies; Python 3.8 or newer.

The function has the signature of TRL's reward functions: lists in, a list of numbers out, `None` where there is no score.

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
import asyncio
import importlib.util
import inspect
import json
import math
import os
import sys
import traceback
from types import SimpleNamespace

__all__ = ["serve"]

PROTOCOL = 1

# True while `python3 -m audio_thinker_reward FILE` loads the file: a `serve(reward)` at its end must then do nothing.
_loading = False


def serve(function, conversational=False):
    """Answers requests on standard input until it ends.

    With `conversational`, each completion and each prompt is a list of messages, as TRL passes them for chat models.
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
            scorer = _Scorer(function, message.get("options") or {}, conversational)
            send({"type": "ready", "protocol": PROTOCOL})
        elif kind == "score":
            try:
                send({"type": "scores", "id": message["id"], "scores": scorer.score(message)})
            except Exception as error:
                traceback.print_exc()
                text = "%s: %s" % (type(error).__name__, error)
                send({"type": "error", "id": message.get("id"), "message": text})


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
    """Calls the reward function with the columns of a batch."""

    def __init__(self, function, options, conversational):
        self.function = function
        self.options = options
        self.conversational = conversational
        parameters = inspect.signature(function).parameters.values()
        self.takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        self.names = {parameter.name for parameter in parameters}
        # One event loop for all batches, so that clients created in an async function stay usable.
        self.loop = None

    def score(self, batch):
        columns = self.columns(batch)
        if not self.takes_all:
            columns = {name: values for name, values in columns.items() if name in self.names}
        scores = self.function(**columns)
        if inspect.isawaitable(scores):
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                asyncio.set_event_loop(self.loop)
            scores = self.loop.run_until_complete(scores)
        if scores is None:
            raise TypeError("the function returned None; return a list with a number or None per completion")
        if hasattr(scores, "tolist"):
            scores = scores.tolist()
        return [_number(score) for score in scores]

    def columns(self, batch):
        items = batch["items"]
        own = set().union(*items) if items else set()
        columns = {name: [item.get(name) for item in items] for name in own}
        for name in set().union(*(item.get("metadata") or {} for item in items)) if items else ():
            columns.setdefault(name, [(item.get("metadata") or {}).get(name) for item in items])
        completions = columns.pop("completion", [])
        prompts = [_prompt(item) for item in items]
        if self.conversational:
            completions = [[{"role": "assistant", "content": text}] for text in completions]
            prompts = [[{"role": "user", "content": text}] for text in prompts]
        columns["completions"] = completions
        columns["prompts"] = prompts
        for name in ("step", "total_steps", "group_size"):
            columns[name] = batch.get(name)
        columns["options"] = self.options
        # TRL passes these too, so functions written for it may name them.
        columns["trainer_state"] = SimpleNamespace(global_step=batch.get("step"), max_steps=batch.get("total_steps"))
        columns["log_extra"] = columns["log_metric"] = lambda name, value: print(name, value)
        return columns


def _prompt(item):
    """Returns the question and its lettered choices as text."""
    lines = [item.get("question") or ""]
    lines += ["(%s) %s" % (chr(ord("A") + place), choice) for place, choice in enumerate(item.get("choices") or [])]
    return "\n".join(lines)


def _number(score):
    if score is None:
        return None
    number = float(score)
    # JSON has no NaN; the sandbox reads this word as "not a number".
    return number if math.isfinite(number) else "NaN"


def _load(target):
    """Loads the function that a target such as `file.py:function` names."""
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
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        found = [name for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")]
        raise SystemExit("%s has no function `%s`; it has %s" % (path, name, ", ".join(found) or "none"))
    return function


def _main():
    global _loading
    parser = argparse.ArgumentParser(prog="python3 -m audio_thinker_reward", description="Serve a function as a reward.")
    parser.add_argument("target", help="file.py:function")
    parser.add_argument("--conversational", action="store_true", help="completions as lists of messages")
    arguments = parser.parse_args()
    # Output of the file while it is loaded must not end up in the protocol.
    _loading = True
    saved = os.dup(1)
    os.dup2(2, 1)
    function = _load(arguments.target)
    sys.stdout.flush()
    os.dup2(saved, 1)
    os.close(saved)
    _loading = False
    serve(function, conversational=arguments.conversational)


if __name__ == "__main__":
    # Under `-m` this file is `__main__`; make `import audio_thinker_reward` in the reward file find it.
    sys.modules.setdefault("audio_thinker_reward", sys.modules["__main__"])
    _main()
