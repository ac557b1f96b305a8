"""The order of the house: public names that are one of a kind, and modules and functions that one can take in."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict

import pytest
from source import ROOT, files

MODULE_LINES = 260
FUNCTION_LINES = 45  # without its docstring
PARAMETERS = 6
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files().values()}

# What is beyond a limit still, by room. Whoever mends one lowers the number; nobody raises one.
KNOWN_LONG_MODULES: dict[str, int] = {}
KNOWN_LONG_FUNCTIONS: dict[str, int] = {}
KNOWN_MANY_PARAMETERS: dict[str, int] = {}
# Names that several public classes still share. Whoever renames one takes it out; nobody adds one.
KNOWN_SHARED_NAMES: set[str] = set()


def room(path) -> str:
    """``cnnbench/<room>`` or ``backends/<backend>``."""
    return "/".join(path.relative_to(ROOT).with_suffix("").parts[:2])


def functions():
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def length(function: ast.FunctionDef) -> int:
    """Its lines, from ``def`` to its last one, without its docstring."""
    first = function.body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    documented = first.end_lineno - first.lineno + 1 if is_text else 0
    return function.end_lineno - function.lineno + 1 - documented


def parameters(function: ast.FunctionDef) -> int:
    """How many parameters a caller fills in; an object's own is none."""
    given = function.args
    named = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")]) + bool(given.vararg) + bool(given.kwarg)


def held(found: list[tuple[str, str]], known: dict[str, int]) -> None:
    """Fails where a room has more than is known, naming all of them, or fewer, so that the list shrinks."""
    counts = Counter(room for room, _ in found)
    for name in sorted({*counts, *known}):
        shown = [text for room, text in found if room == name]
        assert counts[name] <= known.get(name, 0), f"more than is known in {name}: divide one of {shown}"
        assert counts[name] >= known.get(name, 0), f"lower the number of {name} to {counts[name]}"


def test_modules_are_short():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in TREES}
    held([(room(path), f"{path}: {n} lines") for path, n in lines.items() if n > MODULE_LINES], KNOWN_LONG_MODULES)


def test_functions_are_short():
    found = [
        (room(path), f"{path}:{f.lineno} {f.name}: {length(f)} lines")
        for path, f in functions()
        if length(f) > FUNCTION_LINES
    ]
    held(found, KNOWN_LONG_FUNCTIONS)


def test_functions_take_few_parameters():
    found = [
        (room(path), f"{path}:{f.lineno} {f.name}: {parameters(f)} parameters")
        for path, f in functions()
        if parameters(f) > PARAMETERS
    ]
    held(found, KNOWN_MANY_PARAMETERS)


def shared_names() -> dict[str, list[str]]:
    """The names of public classes that several modules define, with their modules."""
    found = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    return {name: places for name, places in found.items() if len(places) > 1}


def test_no_public_class_name_is_there_twice():
    found = shared_names()
    new = {name: places for name, places in found.items() if name not in KNOWN_SHARED_NAMES}
    assert not new, "name each for what it is, or make it private to its module with an underscore"
    assert not KNOWN_SHARED_NAMES - set(found), "these names are there once now: take them out of KNOWN_SHARED_NAMES"


def test_the_measures_measure():
    """The tests above could not fail if they counted nothing."""
    function = ast.parse(
        'def f(self, a, *b, c=1, **d):\n    """Says.\n\n    More.\n    """\n    x = a\n    return x\n'
    ).body[0]
    assert length(function) == 3
    assert parameters(function) == 4
    with pytest.raises(AssertionError, match="divide one of"):
        held([("cnnbench/spec", "a")], {})
    with pytest.raises(AssertionError, match="lower the number"):
        held([], {"cnnbench/spec": 1})
