"""What reward code looks like: the arguments that a function takes, and to which trainer's convention code belongs.

`convention_of` decides by what is defined, never by running it. Where it can't tell, the answer is `native`, so that a function
that already works here is called as before. docs/plugins.md lists the rules.
"""

import ast
import functools
import inspect
import textwrap

__all__ = ["Shape", "behind", "compute_of", "convention_of", "is_called", "is_rubric", "name_of", "orm_class"]

# What this project calls its own columns; a function that names one was written for it.
OWN = frozenset(
    "group id question choices answer_gold audio_path start end duration_seconds difficulty kind reasoning_steps mode think answer "
    "well_formed correct correct_official correct_lenient consistency think_quality tokens truncated metadata "
    "step total_steps group_size options".split()
)


class Shape:
    """The arguments that a function takes."""

    def __init__(self, function):
        self.name = name_of(function)
        self.required, self.optional, self.by_place, self.takes_all = [], [], [], False
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            # A function in C may have no signature.
            parameters, self.takes_all = [], True
        for one in parameters:
            if one.kind is one.VAR_KEYWORD:
                self.takes_all = True
            elif one.kind is not one.VAR_POSITIONAL:
                (self.required if one.default is one.empty else self.optional).append(one.name)
                if one.kind is one.POSITIONAL_ONLY:
                    self.by_place.append(one.name)
        self.order = [one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        named = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        self.first = named[0] if named else None

    def names(self):
        return set(self.order)

    def takes(self, name):
        return self.takes_all or name in self.order

    def described(self, passed):
        """The arguments of a call: the required ones, the others that are `passed`, and `**columns`."""
        names = [name for name in self.order if name in self.required or passed(name)]
        return ", ".join(names + ["**columns"] if self.takes_all else names)

    def with_others(self, columns, others):
        """`columns`, and those of `others` that do not take the place of a default value."""
        values = {name: value for name, value in others.items() if name not in self.optional}
        values.update(columns)
        return values

    def call(self, function, values, convention, data=()):
        """Calls a function with those values that it takes."""
        missing = [name for name in self.required if name not in values]
        if missing:
            names = " and ".join("`%s`" % name for name in missing)
            has = ", ".join("`%s`" % name for name in data) or "no further columns"
            raise TypeError(
                "%s needs %s, which is no argument of the convention %s and no column of the data; the data has %s"
                % (self.name, names, convention, has)
            )
        values = {name: value for name, value in values.items() if self.takes(name)}
        by_place = []
        for name in self.by_place:
            if name not in values:
                break
            by_place.append(values[name])
        return function(*by_place, **{name: value for name, value in values.items() if name not in self.by_place})


def behind(function):
    """What partial functions are made of."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def name_of(function):
    """The name of a function or of an object's class."""
    function = behind(function)
    if inspect.ismethod(function) and function.__name__ in ("__call__", "compute"):
        owner = function.__self__
        prefix = owner.__name__ if inspect.isclass(owner) else type(owner).__name__
        return prefix if function.__name__ == "__call__" else prefix + ".compute"
    return str(getattr(function, "__name__", None) or type(function).__name__)


def is_rubric(target):
    """Whether this is a rubric of verifiers, or a group of them."""
    if inspect.isclass(target) or inspect.isroutine(target) or inspect.ismodule(target):
        return False
    pairs = (("funcs", "weights"), ("reward_funcs", "reward_weights"))
    return any(isinstance(getattr(target, one, None), list) and hasattr(target, other) for one, other in pairs)


def orm_class(target):
    """The class of a reward of ms-swift, from the class or an object of it; else `None`."""
    target = behind(target)
    known = target if inspect.isclass(target) else type(target)
    bases = [one.__name__ for one in known.__mro__[1:]]
    return known if "ORM" in bases or "AsyncORM" in bases else None


def is_called(target):
    """Whether this is a function, an object that can be called, or a class of such objects."""
    if inspect.isclass(target):
        return any("__call__" in vars(one) for one in target.__mro__)
    return callable(target)


def compute_of(target):
    """The function `compute` of an object, or the function itself."""
    if inspect.isclass(target) and callable(getattr(target, "compute", None)):
        target = target()
    compute = getattr(target, "compute", None)
    return compute if callable(compute) else target


def convention_of(target, conversational=None):
    """The convention of what a file defines. `conversational` is `None` where the scenario does not set it."""
    if is_rubric(target) or name_of(target) == "load_environment" and inspect.isroutine(target):
        return "verifiers"
    if orm_class(target):
        return "swift"
    if isinstance(target, (list, tuple)):
        return "trl"
    if not is_called(target) and callable(getattr(target, "compute", None)):
        return "evaluate"
    code = _code(target)
    if (getattr(code, "__module__", None) or "").split(".")[0] == "trl":
        return "trl"
    shape = Shape(target)
    required, names = set(shape.required), shape.names()
    if inspect.isclass(target):
        shape = Shape(target.__call__)
        required, names = set(shape.required) - {"self"}, shape.names()
    if "solution_str" in required or "solution_strs" in required:
        return "verl"
    if "completion" in required and "completions" not in names:
        return "verifiers"
    if {"predictions", "references"} <= required:
        return "evaluate"
    if "completion_ids" in required:
        return "trl"
    reading = _Reading(code)
    own = OWN & (names | reading.columns)
    if "completion_ids" in names and "completions" not in names and not own:
        return "trl"
    if reading.messages and not reading.texts_too and not (conversational and own):
        return "trl"
    return "native"


def _code(target):
    """The plain function behind partial functions, decorators and objects."""
    target = behind(target)
    if inspect.isclass(target):
        target = target.__call__
    elif not inspect.isroutine(target):
        target = getattr(type(target), "__call__", target)
    try:
        return inspect.unwrap(target)
    except ValueError:
        return target


class _Reading:
    """How a function reads its columns: whether it takes completions or prompts apart as lists of messages, as in
    `completion[0]["content"]`, which fails for texts; whether it checks what it has got; and which columns it takes from
    `**kwargs`."""

    # How many lists and dictionaries are around the text.
    COLUMNS = {"completions": 2, "prompts": 2}
    DEEPEST = 3

    def __init__(self, code):
        self.messages, self.texts_too, self.columns = False, False, set()
        self.read(code, None, 0)

    def read(self, code, levels, depth):
        """Reads a function. `levels` are those of its arguments, in their order; `None` for a reward function."""
        code = getattr(code, "__func__", code)
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(code))).body[0]
        except (OSError, TypeError, SyntaxError, ValueError, IndexError):
            return
        if not isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        arguments = [one.arg for one in getattr(tree.args, "posonlyargs", []) + tree.args.args]
        if levels is None:
            every = arguments + [one.arg for one in tree.args.kwonlyargs]
            known = {name: self.COLUMNS[name] for name in every if name in self.COLUMNS}
        else:
            known = {name: level for name, level in zip(arguments, levels) if level is not None}
        rest = tree.args.kwarg.arg if tree.args.kwarg else None
        _Body(self, known, rest, code, depth).visit_all(tree.body)


class _Body(ast.NodeVisitor):
    """Walks through a function and follows where the messages go."""

    def __init__(self, reading, known, rest, code, depth):
        self.reading, self.known, self.rest, self.code, self.depth = reading, known, rest, code, depth

    def visit_all(self, nodes):
        for node in nodes:
            self.visit(node)

    def level(self, node):
        """How many lists and dictionaries are around the text that this expression leads to: 1 for a completion, 0 for a message;
        `None` if it does not come from completions or prompts."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        column = self.column(node)
        if column is not None:
            return _Reading.COLUMNS.get(column)
        if isinstance(node, ast.Subscript):
            level, index = self.level(node.value), _index(node)
            if level is None or isinstance(index, ast.Slice):
                return level
            return level - 1 if level > 0 and not isinstance(_constant(index), str) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("list", "reversed", "iter"):
            return self.level(node.args[0]) if node.args else None
        return None

    def column(self, node):
        """The name that is read from `**kwargs`."""
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == self.rest:
            return _constant(_index(node))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
            if isinstance(node.func.value, ast.Name) and node.func.value.id == self.rest and node.args:
                return _constant(node.args[0])
        return None

    def bind(self, target, source):
        """Binds the names of a loop over `source`."""
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name):
            parts = getattr(target, "elts", [])
            if source.func.id == "zip":
                for part, one in zip(parts, source.args):
                    self.bind(part, one)
                return
            if source.func.id == "enumerate" and len(parts) == 2 and source.args:
                self.bind(parts[1], source.args[0])
                return
        level = self.level(source)
        if isinstance(target, ast.Name) and level:
            self.known[target.id] = level - 1

    def visit_For(self, node):
        self.visit(node.iter)
        self.bind(node.target, node.iter)
        self.visit_all(node.body + node.orelse)

    def visit_comprehensions(self, node):
        for one in node.generators:
            self.visit(one.iter)
            self.bind(one.target, one.iter)
        self.generic_visit(node)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_comprehensions

    def visit_Assign(self, node):
        level = self.level(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name) and level is not None:
                self.known[target.id] = level
        self.generic_visit(node)

    def visit_Try(self, node):
        before = self.reading.messages
        self.visit_all(node.body)
        if self.reading.messages and not before and node.handlers:
            self.reading.texts_too = True
        self.visit_all([part for one in node.handlers for part in one.body] + node.orelse + node.finalbody)

    def visit_Subscript(self, node):
        column = self.column(node)
        if isinstance(column, str):
            self.reading.columns.add(column)
        if self.level(node.value) == 0 and _constant(_index(node)) in ("content", "role"):
            self.reading.messages = True
        self.generic_visit(node)

    def visit_Call(self, node):
        column = self.column(node)
        if isinstance(column, str):
            self.reading.columns.add(column)
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        levels = [self.level(one) for one in node.args]
        known = any(level is not None for level in levels)
        if name in ("isinstance", "type", "hasattr") and known:
            self.reading.texts_too = True
        elif name == "get" and isinstance(node.func, ast.Attribute) and self.level(node.func.value) == 0:
            self.reading.messages = True
        elif name in ("map", "filter") and len(node.args) == 2 and levels[1]:
            self.called(node.args[0], [levels[1] - 1])
        elif known:
            self.called(node.func, levels)
        self.generic_visit(node)

    def called(self, function, levels):
        """Follows messages into a function of the same file, or a method of the same object."""
        if isinstance(function, ast.Lambda):
            names = [one.arg for one in function.args.args]
            self.known.update((name, level) for name, level in zip(names, levels) if level is not None)
            return
        if self.depth >= _Reading.DEEPEST:
            return
        around = getattr(self.code, "__globals__", {})
        found = None
        if isinstance(function, ast.Name):
            found = around.get(function.id)
        elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "self":
            owner = around.get(getattr(self.code, "__qualname__", "").rpartition(".")[0])
            found = getattr(owner, function.attr, None)
            levels = [None] + levels if inspect.isfunction(inspect.getattr_static(owner, function.attr, None)) else levels
        if inspect.isfunction(found) and found is not self.code:
            self.reading.read(found, levels, self.depth + 1)


def _index(node):
    """The index of a subscript; Python 3.8 wraps it."""
    return getattr(node.slice, "value", node.slice) if type(node.slice).__name__ == "Index" else node.slice


def _constant(node):
    """The value of a constant, negative numbers included; else `None`."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -1
    return getattr(node, "value", None) if isinstance(node, ast.Constant) else None
