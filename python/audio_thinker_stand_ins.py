"""Stand-ins for packages that reward files import only to register or to weigh their functions, where they are not installed.

`swift` (ms-swift) has the base classes `ORM` and `AsyncORM` and the registry `orms`; `verifiers` has `Rubric`. Whatever else a
file imports from them needs the package itself, and the message says so. An installed package is never replaced.
"""

import importlib.abc
import importlib.machinery
import logging
import sys
import types

__all__ = ["installed", "other_version"]


class ORM:
    """ms-swift's base class of rewards: completions in, a list of numbers out."""

    def __init__(self, args=None, **kwargs):
        self.args = args

    def __call__(self, **kwargs):
        raise NotImplementedError


class AsyncORM:
    """The same with `async def __call__`."""

    def __init__(self, args=None, **kwargs):
        self.args = args

    async def __call__(self, **kwargs):
        raise NotImplementedError


orms = {}


def get_logger(name="swift", *_, **__):
    return logging.getLogger(name)


class _Parser:
    """What verifiers gives a rubric without a parser: the answer is the text of the last message."""

    def parse(self, text):
        return text

    def parse_answer(self, completion):
        if isinstance(completion, str):
            return completion
        texts = [message.get("content") for message in completion if message.get("role") == "assistant"]
        return texts[-1] if texts else None


class Rubric:
    """Functions and their weights, as verifiers' `Rubric`. This module's caller does the scoring."""

    def __init__(self, funcs=None, weights=None, parser=None, **others):
        self.funcs = list(funcs or [])
        self.weights = list(weights or [1.0] * len(self.funcs))
        if len(self.weights) != len(self.funcs):
            raise ValueError(
                "Number of weights (%d) must match number of functions (%d)" % (len(self.weights), len(self.funcs))
            )
        self.parser = parser or _Parser()
        self.class_objects = {"parser": self.parser}
        for name, value in others.items():
            setattr(self, name, value)

    def add_reward_func(self, func, weight=1.0):
        self.funcs.append(func)
        self.weights.append(weight)

    def add_metric(self, func, weight=0.0):
        self.add_reward_func(func, weight)

    def add_class_object(self, name, obj):
        self.class_objects[name] = obj


_SWIFT = {"ORM": ORM, "AsyncORM": AsyncORM, "orms": orms}
_MODULES = {
    "swift": {"get_logger": get_logger},
    "swift.plugin": _SWIFT,
    "swift.plugin.orm": _SWIFT,
    "swift.rewards": _SWIFT,
    "swift.rewards.orm": _SWIFT,
    "swift.utils": {"get_logger": get_logger},
    "verifiers": {"Rubric": Rubric},
}
_PACKAGES = {"swift": "ms-swift", "verifiers": "verifiers"}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Comes before the other finders, because a folder of that name without `__init__.py` also counts as a package."""

    def __init__(self):
        self.missing = {}

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in _PACKAGES or self.is_installed(top):
            return None
        if name not in _MODULES:
            raise ModuleNotFoundError(_needed(name), name=name)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def is_installed(self, top):
        if top not in self.missing:
            others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
            specs = (finder.find_spec(top, None) for finder in others)
            self.missing[top] = not any(spec is not None and spec.origin is not None for spec in specs)
        return not self.missing[top]

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = _missing(spec.name)
        return module

    def exec_module(self, module):
        module.__dict__.update(_MODULES[module.__name__])


def _needed(name):
    package = _PACKAGES[name.partition(".")[0]]
    return "`%s` needs the package %s; install it in the virtual environment that `python = \"…/bin/python\"` names" % (
        name,
        package,
    )


def _missing(module):
    def __getattr__(name):
        if name.startswith("__") or module + "." + name in _MODULES:
            raise AttributeError("module %r has no attribute %r" % (module, name))
        raise ImportError(_needed(module + "." + name), name=module)

    return __getattr__


def other_version(error):
    """Which version of an installed package has what a file did not find in it; `None` if that is not the reason."""
    if isinstance(error, AttributeError) and str(error).startswith("module 'verifiers' has no attribute"):
        return (
            "%s: verifiers has had no rubrics since 0.3; install `verifiers<0.3` in the virtual environment that "
            "`python = \"…/bin/python\"` names, or one without verifiers if the file needs only `Rubric`" % error
        )
    return None


class installed:
    """While this is entered, a missing `swift` or `verifiers` is replaced by its stand-in."""

    def __enter__(self):
        self.finder = _Finder()
        sys.meta_path.insert(0, self.finder)

    def __exit__(self, *_):
        sys.meta_path.remove(self.finder)
