"""The order of the house: public names that are one of a kind, and modules and functions that one can take in."""

from __future__ import annotations

import ast
from collections import defaultdict

from source import ROOT, files

MODULE_LINES = 260
FUNCTION_LINES = 45  # without its docstring
PARAMETERS = 6
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files().values()}
TREES = {name: ast.parse(text) for name, text in TEXTS.items()}
FUNCTIONS = [
    (f"{name}:{node.lineno} {node.name}", node)
    for name, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]


def length(function: ast.FunctionDef) -> int:
    """Its lines, from ``def`` to its last one, without its docstring."""
    first = function.body[0]
    documented = 0 if ast.get_docstring(function) is None else first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - documented


def parameters(function: ast.FunctionDef) -> int:
    """How many parameters a caller fills in; an object's own is none."""
    given = function.args
    named = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")]) + bool(given.vararg) + bool(given.kwarg)


def test_modules_are_short():
    lines = {name: len(text.splitlines()) for name, text in TEXTS.items()}
    assert not {name: count for name, count in lines.items() if count > MODULE_LINES}, "divide each"


def test_functions_are_short():
    lengths = {place: length(function) for place, function in FUNCTIONS}
    assert not {place: lines for place, lines in lengths.items() if lines > FUNCTION_LINES}, "divide each"


def test_functions_take_few_parameters():
    counts = {place: parameters(function) for place, function in FUNCTIONS}
    assert not {place: count for place, count in counts.items() if count > PARAMETERS}, "give each a frozen dataclass"


def shared_names() -> dict[str, list[str]]:
    """The names of public classes that several modules define, with their modules."""
    found = defaultdict(list)
    for name, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name)
    return {name: places for name, places in found.items() if len(places) > 1}


def test_no_public_class_name_is_there_twice():
    assert not shared_names(), "name each for what it is, or make it private to its module with an underscore"


def test_the_measures_measure():
    """The tests above could not fail if they counted nothing."""
    text = 'def f(self, a, *b, c=1, **d):\n    """Says.\n\n    More.\n    """\n    x = a\n    return x\n'
    function = ast.parse(text).body[0]
    assert length(function) == 3
    assert parameters(function) == 4
    assert len(FUNCTIONS) > 1000
