"""How reward code is called: this project's own convention, and those of TRL, verl, ms-swift, verifiers and evaluate.

A caller is made of what a file defines (`caller`), then scores batch after batch (`Caller.score`). docs/plugins.md says what each
convention passes. In all of them

- a column of the data never takes the place of an argument that the convention defines. One that is hidden by such an argument is
  warned of, and stays in `metadata`, the rows' columns as they are in the data;
- a score that can't be had is `None`, never 0.
"""

import asyncio
import inspect
from types import SimpleNamespace

from audio_thinker_batch import NAMED_HERE, SettingError, finite, listed, number, single
from audio_thinker_shape import Shape, behind, compute_of, is_rubric, name_of

__all__ = ["CONVENTIONS", "caller"]

GOLD = ("solution", "ground_truth", "answer")


class Caller:
    """Code of one convention. `call` says what it is called with; `columns` are the fields of a completion that it needs beside
    the usual ones."""

    convention = ""
    columns = ()

    def __init__(self, function, options):
        self.function = function
        self.options = options
        self.shape = Shape(function)
        self.call = self.described()
        # One event loop for all batches, so that clients created in an async function stay usable.
        self.loop = None

    def described(self):
        """The call, for `sandbox check`."""
        raise NotImplementedError

    def score(self, batch, record):
        """Returns one score per completion: a number, or `None` for none."""
        raise NotImplementedError

    def finish(self, value):
        """The value itself, or what an async function returns."""
        if not inspect.isawaitable(value):
            return value
        return self.running().run_until_complete(_result(value))

    def finish_all(self, values):
        """The same for many, at the same time. An exception is returned in place of a value."""
        waiting = [place for place, value in enumerate(values) if inspect.isawaitable(value)]
        if waiting:

            async def all_of_them():
                return await asyncio.gather(*(_result(values[place]) for place in waiting), return_exceptions=True)

            for place, value in zip(waiting, self.running().run_until_complete(all_of_them())):
                values[place] = value
        return values

    def running(self):
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop

    def each(self, batch, call, read):
        """Calls a function for each completion and reads what it returns. Returns the scores, and the exceptions by the place of their
        completion: one costs that completion only."""
        values = []
        for place in range(len(batch.items)):
            try:
                values.append(call(place))
            except Exception as error:
                values.append(error)
        values = self.finish_all(values)
        scores, errors = [], {}
        for place, value in enumerate(values):
            try:
                if isinstance(value, BaseException):
                    raise value
                scores.append(read(place, value))
            except SettingError:
                raise
            except Exception as error:
                errors[place] = error
                scores.append(None)
        return scores, errors

    def warn_of_hidden(self, batch, record, shape, own, instead="it is in `metadata`"):
        """Warns of columns of the data that an argument of the convention hides."""
        for name in batch.data:
            if name in own and shape.takes(name):
                record.warn(
                    "the data's column `%s` is hidden by what the convention %s passes under that name; %s"
                    % (name, self.convention, instead)
                )


class Native(Caller):
    """This project's own convention: columns as lists, texts as they are."""

    convention = "native"

    def __init__(self, function, options, conversational=False):
        self.conversational = bool(conversational)
        super().__init__(function, options)

    def described(self):
        return "%s(%s)" % (name_of(self.function), self.shape.described(lambda name: True))

    def score(self, batch, record):
        own = batch.own(self.options)
        own.pop("completion", None)
        own["completions"] = batch.completions(self.conversational)
        own["prompts"] = batch.prompts(self.conversational)
        own["trainer_state"] = batch.trainer_state()
        own["log_extra"], own["log_metric"] = record.log_extra, record.log_metric
        self.warn_of_hidden(batch, record, self.shape, list(own) + ["completion"])
        columns = {name: values for name, values in batch.data.items() if name != "completion"}
        columns.update(own)
        for name in ("solution", "ground_truth"):
            # Without it the call would fail.
            if name in self.shape.required:
                columns.setdefault(name, batch.golds)
        # A function that names none of these but `answer` may come from TRL, where that is the gold.
        if self.conversational and self.shape.names() & set(own) & NAMED_HERE == {"answer"}:
            record.warn(
                "`answer` is the policy's own answer; write convention = \"trl\" if the function expects the right one"
            )
        return listed(self.finish(self.shape.call(self.function, columns, self.convention, batch.data)))


class Trl(Caller):
    """Reward functions of TRL's `GRPOTrainer`. A list of them is summed, as there with equal weights."""

    convention = "trl"
    OWN = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "metadata")
    # TRL does not pass these columns of the data.
    NOT_PASSED = ("prompt", "completion")

    def __init__(self, function, options, conversational=None):
        self.conversational = conversational is not False
        self.functions = list(function) if isinstance(function, (list, tuple)) else [function]
        self.shapes = [Shape(one) for one in self.functions]
        if any(shape.takes("completion_ids") for shape in self.shapes):
            self.columns = ("completion_ids",)
        super().__init__(self.functions[0], options)

    def described(self):
        def passed(name):
            return name in self.OWN or name in GOLD

        calls = [
            "%s(%s)" % (name_of(one), shape.described(passed)) for one, shape in zip(self.functions, self.shapes)
        ]
        return " + ".join(calls)

    def arguments(self, batch, record):
        """What TRL passes, and the columns that only this project has."""
        passed = {
            "prompts": batch.prompts(self.conversational),
            "completions": batch.completions(self.conversational),
            "completion_ids": batch.column("completion_ids"),
            "trainer_state": batch.trainer_state(),
            "log_extra": record.log_extra,
            "log_metric": record.log_metric,
            "metadata": batch.rows,
        }
        columns = {name: values for name, values in batch.data.items() if name not in self.NOT_PASSED}
        columns.update(passed)
        for name in GOLD:
            columns.setdefault(name, batch.golds)
        return columns, batch.own(self.options)

    def hiding(self):
        """The names that a column of the data can't have."""
        return self.OWN + self.NOT_PASSED

    def score(self, batch, record):
        columns, others = self.arguments(batch, record)
        for shape in self.shapes:
            self.warn_of_hidden(batch, record, shape, self.hiding())
        results = []
        for function, shape in zip(self.functions, self.shapes):
            values = shape.with_others(columns, others)
            results.append(shape.call(function, values, self.convention, batch.data))
        if len(results) == 1:
            return listed(self.finish(results[0]))
        return self.summed(self.finish_all(results), batch, record)

    def summed(self, results, batch, record):
        sums = [None] * len(batch.items)
        for function, result in zip(self.functions, results):
            if isinstance(result, BaseException):
                raise result
            scores = [number(score, place) for place, score in enumerate(listed(result))]
            if len(scores) != len(sums):
                raise ValueError(
                    "%s returned %d scores for %d completions" % (name_of(function), len(scores), len(sums))
                )
            for place, score in enumerate(scores):
                if score is not None:
                    sums[place] = score + (sums[place] or 0.0)
                    record.add(name_of(function), score)
        return sums


class Swift(Trl):
    """Rewards of ms-swift: a class derived from `ORM`, whose `__call__` gets the completions as texts."""

    convention = "swift"
    OWN = (
        "completions",
        "trainer_state",
        "messages",
        "response_token_ids",
        "is_truncated",
        "finish_reason",
        "prompt_id",
        "request_id",
        "rollout_infos",
        "metadata",
    )

    def __init__(self, function, options, conversational=None):
        super().__init__(_instance(function, options), options, conversational is True)
        self.columns = ("completion_ids",) if self.shape.takes("response_token_ids") else ()

    def described(self):
        def passed(name):
            return name in self.OWN or name in GOLD or name == self.shape.first

        return "%s()(%s)" % (name_of(self.function), self.shape.described(passed))

    def hiding(self):
        # ms-swift passes the completions by their place.
        return self.OWN + (self.shape.first,)

    def arguments(self, batch, record):
        prompts, completions = batch.prompts(True), batch.completions(True)
        ids = batch.column("completion_ids")
        cut = [bool(value) for value in batch.column("truncated")]
        passed = {
            "completions": batch.completions(self.conversational),
            "trainer_state": batch.trainer_state(),
            "messages": [prompt + completion for prompt, completion in zip(prompts, completions)],
            "response_token_ids": ids,
            "is_truncated": cut,
            "finish_reason": ["length" if one else "stop" for one in cut],
            "prompt_id": [str(group) for group in batch.column("group")],
            "request_id": [str(place) for place in range(len(ids))],
            "rollout_infos": [{} for _ in ids],
            "metadata": batch.rows,
        }
        columns = dict(batch.data)
        columns.update(passed)
        for name in GOLD:
            columns.setdefault(name, batch.golds)
        if self.shape.first not in (None, "completions"):
            columns[self.shape.first] = columns.pop("completions")
        others = batch.own(self.options)
        others["audios"] = [[path] for path in batch.column("audio_path")]
        return columns, others


class Verl(Caller):
    """verl's `compute_score`, called for each completion, or for all of them where it names `solution_strs`."""

    convention = "verl"
    EACH = ("data_source", "solution_str", "ground_truth", "extra_info")
    ALL = ("data_sources", "solution_strs", "ground_truths", "extra_infos")

    def __init__(self, function, options):
        self.batched = "solution_strs" in Shape(function).names()
        super().__init__(function, options)

    def described(self):
        own = self.ALL if self.batched else self.EACH
        shape = self.shape
        names = [name for name in own if shape.takes(name)]
        names += [name for name in self.options if shape.takes(name) and name not in own]
        return "%s(%s)" % (name_of(self.function), ", ".join(names))

    def score(self, batch, record):
        self.warn_of_hidden(batch, record, self.shape, ("solution_str", "solution_strs", "metadata"), "it is in `extra_info[\"metadata\"]`")
        rows = range(len(batch.items))
        sources = [self.source(batch.items[place], batch.rows[place]) for place in rows]
        golds = [self.gold(batch.items[place], batch.rows[place]) for place in rows]
        infos = [self.info(batch, place) for place in rows]
        columns = dict(zip(self.ALL, (sources, batch.texts, golds, infos)))
        if self.batched:
            values = dict(self.options)
            values.update(columns)
            results = listed(self.finish(self.shape.call(self.function, values, self.convention)))
            return [self.read(result, record) for result in results]

        def call(place):
            values = dict(self.options)
            values.update((one, columns[all_of][place]) for one, all_of in zip(self.EACH, self.ALL))
            return self.shape.call(self.function, values, self.convention)

        scores, errors = self.each(batch, call, lambda _, result: self.read(result, record))
        record.failed(errors)
        return scores

    @staticmethod
    def source(item, row):
        source = row.get("data_source")
        return source if source is not None else item.get("kind") or ""

    @staticmethod
    def gold(item, row):
        if "ground_truth" in row:
            return row["ground_truth"]
        model = row.get("reward_model")
        return model["ground_truth"] if isinstance(model, dict) and "ground_truth" in model else item.get("answer_gold")

    @staticmethod
    def info(batch, place):
        info = batch.row_info(place, "extra_info")
        info.setdefault("num_turns", None)
        info.setdefault("rollout_reward_scores", {})
        return info

    @staticmethod
    def read(result, record):
        if isinstance(result, dict):
            if "score" not in result:
                raise TypeError("it returned a dictionary without `score`; it has %s" % ", ".join(map(str, result)))
            for name, value in result.items():
                if name != "score" and finite(value) is not None:
                    record.add(name, value)
            result = result["score"]
        return single(result, "a number or a dictionary with `score`")


class Verifiers(Caller):
    """Functions of verifiers, and rubrics of them: called for each completion with the arguments that they name."""

    convention = "verifiers"
    GROUP = ("states", "prompts", "completions", "answers", "tasks", "infos")
    OWN = ("prompt", "completion", "state", "parser")

    def __init__(self, function, options, conversational=None):
        self.conversational = conversational is not False
        self.rubric = is_rubric(function)
        self.parts = _parts(function) if self.rubric else [(function, 1.0, {})]
        if not self.parts:
            raise SettingError("the rubric has no functions")
        self.shapes = [Shape(one) for one, _, _ in self.parts]
        super().__init__(self.parts[0][0], options)

    def described(self):
        calls = []
        for (function, weight, objects), shape in zip(self.parts, self.shapes):
            own = set(self.OWN) | {"answer", "info", "task"} | set(self.GROUP) | set(objects)
            call = "%s(%s)" % (name_of(function), shape.described(lambda name: name in own))
            calls.append("%g * %s" % (weight, call) if self.rubric else call)
        return " + ".join(calls)

    def score(self, batch, record):
        prompts, completions = batch.prompts(self.conversational), batch.completions(self.conversational)
        states = []
        for place, row in enumerate(batch.rows):
            info = row.get("info")
            state = {
                "prompt": prompts[place],
                "completion": completions[place],
                "answer": batch.gold("answer")[place],
                "task": row.get("task", "default"),
                "info": info if info is not None else batch.row_info(place, "info"),
                "input": dict(row),
                "metadata": row,
                "id": batch.items[place].get("id"),
                "responses": [],
                "trajectory": [],
                "timing": {},
                "turn": 1,
            }
            states.append(state)
        totals = [0.0] * len(states)
        for (function, weight, objects), shape in zip(self.parts, self.shapes):
            own = set(self.OWN) | set(objects)
            self.warn_of_hidden(batch, record, shape, own, "it is in `state[\"metadata\"]`")
            scoring = self.by_group if self.of_group(shape) else self.by_completion
            scores, errors = scoring(function, shape, objects, batch, states)
            if weight:
                record.failed(errors)
            elif errors:
                record.warn("the metric `%s` failed: %s" % (name_of(function), next(iter(errors.values()))))
            for place, score in enumerate(scores):
                if score is not None and self.rubric:
                    record.add(name_of(function), score)
                if weight and totals[place] is not None:
                    totals[place] = None if score is None else totals[place] + weight * score
        return totals

    def of_group(self, shape):
        return any(name in shape.names() for name in self.GROUP) and "completion" not in shape.names()

    def by_completion(self, function, shape, objects, batch, states):
        def call(place):
            state = states[place]
            values = dict(batch.rows[place])
            values.update(objects, state=state)
            values.update((name, state[name]) for name in ("prompt", "completion", "answer", "info", "task"))
            return shape.call(function, values, self.convention, batch.data)

        return self.each(batch, call, lambda _, result: single(result, "a number"))

    def by_group(self, function, shape, objects, batch, states):
        groups, scores, errors = {}, [None] * len(states), {}
        for place, group in enumerate(batch.column("group")):
            groups.setdefault(group, []).append(place)
        for places in groups.values():
            chosen = [states[place] for place in places]
            values = dict(objects, states=chosen)
            for one in ("prompt", "completion", "answer", "task", "info"):
                values[one + "s"] = [state[one] for state in chosen]
            try:
                result = listed(self.finish(shape.call(function, values, self.convention)))
                if len(result) != len(places):
                    raise ValueError("it returned %d scores for a group of %d" % (len(result), len(places)))
                for place, score in zip(places, result):
                    scores[place] = number(score, place)
            except Exception as error:
                errors.update((place, error) for place in places)
        return scores, errors


class Evaluate(Caller):
    """`compute(predictions=[…], references=[…])`, as of Hugging Face's evaluate: called with each answer and the gold."""

    convention = "evaluate"

    def __init__(self, function, options, entry=None):
        self.entry = entry
        super().__init__(compute_of(function), options)

    def described(self):
        names = ["predictions", "references"] + [name for name in self.options if self.shape.takes(name)]
        entry = "[\"%s\"]" % self.entry if self.entry else ""
        return "%s(%s)%s" % (name_of(self.function), ", ".join(names), entry)

    def score(self, batch, record):
        self.warn_of_hidden(batch, record, self.shape, ("predictions", "references"), "it is not passed")

        def call(place):
            answer = batch.items[place].get("answer")
            values = dict(self.options)
            values.update(predictions=["" if answer is None else answer], references=[batch.golds[place]])
            return self.shape.call(self.function, values, self.convention)

        scores, errors = self.each(batch, call, lambda _, result: self.read(result, record))
        record.failed(errors)
        return scores

    def read(self, result, record):
        if not isinstance(result, dict):
            return single(result, "a dictionary of numbers")
        found = {name: finite(_only(value)) for name, value in result.items() if not isinstance(value, str)}
        found = {name: value for name, value in found.items() if value is not None}
        entry = self.entry
        if entry is None:
            if len(result) != 1 and len(found) != 1:
                names = ", ".join(map(str, result)) or "no entries"
                raise SettingError("compute returned %s; write which is the score, as entry = \"NAME\"" % names)
            entry = next(iter(found if found else result))
        if entry not in result:
            raise SettingError("compute returned no entry `%s`; it has %s" % (entry, ", ".join(map(str, result))))
        for name, value in found.items():
            if name != entry:
                record.add(name, value)
        return single(_only(result[entry]), "a dictionary of numbers")


CONVENTIONS = {one.convention: one for one in (Native, Trl, Verl, Swift, Verifiers, Evaluate)}


def caller(convention, target, options, conversational=None, entry=None):
    """Makes the caller of what a file defines. `conversational` is `None` where the scenario does not set it."""
    if inspect.isclass(target) and convention not in ("swift", "evaluate"):
        target = target()
    if convention == "verifiers" and name_of(target) == "load_environment":
        environment = target(**options)
        target = getattr(environment, "rubric", None)
        if target is None:
            raise SettingError("load_environment() returned an object without `rubric`")
    if convention in ("verl", "evaluate"):
        extra = {"entry": entry} if convention == "evaluate" else {}
        return CONVENTIONS[convention](target, options, **extra)
    return CONVENTIONS[convention](target, options, conversational)


async def _result(value):
    return await value


def _instance(target, options):
    """The object of an ORM's class, made as ms-swift does."""
    if not inspect.isclass(behind(target)):
        return target
    shape = Shape(target)
    return target(args=_Arguments(options)) if shape.takes("args") else target()


class _Arguments(SimpleNamespace):
    """The trainer's arguments, which ms-swift passes to a reward: the scenario's `options`."""

    def __init__(self, options):
        super().__init__(**options)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError("the argument `%s` of the trainer is not set; write it in `options`" % name)


def _parts(rubric):
    """The functions of a rubric, or of a group of rubrics, with their weights and the objects that they may ask for."""
    if hasattr(rubric, "rubrics"):
        return [part for one in rubric.rubrics for part in _parts(one)]
    funcs = getattr(rubric, "funcs", None) or getattr(rubric, "reward_funcs", None) or []
    weights = getattr(rubric, "weights", None) or getattr(rubric, "reward_weights", None) or [1.0] * len(funcs)
    objects = dict(getattr(rubric, "class_objects", None) or {})
    if getattr(rubric, "parser", None) is not None:
        objects.setdefault("parser", rubric.parser)
    return [(function, float(weight), objects) for function, weight in zip(funcs, weights)]


def _only(value):
    """The element of a list with one."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
