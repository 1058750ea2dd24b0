"""What to call in a reward file: the function that the scenario names, or the one thing that the file defines."""

import functools
import inspect
import sys

from audio_thinker_shape import Shape, convention_of, is_called, is_rubric, orm_class

__all__ = ["find", "names"]

_OURS = ("audio_thinker_reward", "audio_thinker_stand_ins")

# The name that a scenario uses unless it sets `function`.
USUAL = "reward"


def find(module, name, convention):
    """Returns the object called `name`, or what is found in its place if that is the usual name; `None` if there is none."""
    target = vars(module).get(name, getattr(module, name, None))
    if target is None:
        target = _registered(module).get(name)
    if name == USUAL and target is not None and convention in ("auto", "verifiers"):
        # The rubric that weighs this function says more than the function alone.
        for rubric in _rubrics(module):
            if any(one is target for one in _functions(rubric)):
                return rubric
    if _is_usable(target):
        return target
    return _only_one(module, convention) if name == USUAL else None


def names(module):
    """What a scenario may name as `function`: the file's functions, and its rewards for ms-swift."""
    public = [(name, value) for name, value in vars(module).items() if not name.startswith("_")]
    functions = [name for name, value in public if inspect.isfunction(value) and value.__module__ not in _OURS]
    classes = [name for name, value in _own(module) if inspect.isclass(value) and orm_class(value)]
    return functions + classes + [name for name in _registered(module) if name not in classes]


def _is_usable(target):
    if isinstance(target, (list, tuple)):
        return bool(target) and all(callable(one) for one in target)
    return target is not None and (callable(target) or is_rubric(target) or callable(getattr(target, "compute", None)))


def _only_one(module, convention):
    """The one thing in a file that is a reward of a known kind; `None` if there is none, or more than one."""
    found = {}
    for kind, targets in (("verl", _verl(module)), ("swift", _orms(module)), ("verifiers", _environments(module))):
        if convention in ("auto", kind):
            found.update((id(target), target) for target in targets)
    if convention in ("auto", "evaluate"):
        found.update((id(target), target) for target in _computing(module))
    if not found:
        found = {id(target): target for target in _rewards(module, convention)}
    return next(iter(found.values())) if len(found) == 1 else None


def _own(module):
    """What the file itself defines, by public names: objects, and those functions and classes that it does not import."""
    named = [(name, value) for name, value in vars(module).items() if not name.startswith("_")]
    return [(name, value) for name, value in named if not _is_imported(value, module)]


def _is_imported(value, module):
    if inspect.ismodule(value):
        return True
    return (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__ != module.__name__


def _verl(module):
    target = getattr(module, "compute_score", None)
    return [target] if callable(target) else []


def _registered(module):
    """The rewards of ms-swift that the file has added to `orms`."""
    places = [module] + [sys.modules[name] for name in _ORMS if name in sys.modules]
    found = {}
    for place in places:
        registry = vars(place).get("orms")
        for name, target in registry.items() if isinstance(registry, dict) else ():
            if not (getattr(target, "__module__", None) or "").startswith("swift."):
                found[name] = target
    return found


_ORMS = ("swift.rewards.orm", "swift.plugin.orm", "swift.rewards", "swift.plugin")


def _orms(module):
    registered = list(_registered(module).values())
    if registered:
        return registered
    classes = [value for _, value in _own(module) if inspect.isclass(value) and orm_class(value)]
    # A base class of others is no reward of its own.
    return [one for one in classes if not any(one in other.__mro__[1:] for other in classes)]


def _rubrics(module):
    return list({id(value): value for name, value in vars(module).items() if is_rubric(value)}.values())


def _functions(rubric):
    return getattr(rubric, "funcs", None) or getattr(rubric, "reward_funcs", None) or []


def _environments(module):
    rubrics = _rubrics(module)
    load = getattr(module, "load_environment", None)
    return rubrics or ([load] if callable(load) else [])


def _computing(module):
    """Objects and functions like those of evaluate."""
    found = []
    for _, value in _own(module):
        if is_rubric(value):
            continue
        if inspect.isclass(value):
            instances = any(isinstance(other, value) for other in vars(module).values())
            if not instances and not is_called(value) and callable(getattr(value, "compute", None)):
                found.append(value)
        elif _is_usable(value) and not isinstance(value, (list, tuple)) and convention_of(value) == "evaluate":
            found.append(value)
    return found


def _rewards(module, convention):
    """Functions, and objects that are called, with the arguments of a reward; a list of them for TRL."""
    if convention in ("auto", "trl") and _is_usable(vars(module).get("reward_funcs")):
        return [module.reward_funcs]
    own = [value for _, value in _own(module) if _takes_completions(value, convention)]
    # A function that another one is made of is no reward of its own, nor is a class that has objects.
    parts = [one.func for one in own if isinstance(one, functools.partial)] + [type(one) for one in own]
    own = [one for one in own if not any(one is part for part in parts)]
    imported = [value for value in vars(module).values() if _takes_completions(value, convention)]
    return own or imported


def _takes_completions(value, convention):
    wanted = {"completions", "completion_ids", "completion", "solution_str", "solution_strs"}
    if not is_called(value) or is_rubric(value):
        return False
    if not wanted & Shape(value.__call__ if inspect.isclass(value) else value).names():
        return False
    return convention in ("auto", "native") or convention_of(value) in (convention, "native")
