"""The order of the house: public names that are one of a kind, and modules and functions that one can take in."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

from source import ROOT, files

MODULE_LINES = 260
TEST_LINES = 440
FUNCTION_LINES = 45  # without its docstring
PARAMETERS = 6
UNEXPLAINED = 2  # parameters that a name and a sentence can explain
COMMANDS = "cnnbench/cli/"  # whose help documents their options


@cache
def texts() -> dict[str, str]:
    """Every module's text; read by the first test that asks, so that collecting tests costs nothing."""
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files().values()}


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(text) for name, text in texts().items()}


@cache
def functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (f"{name}:{node.lineno} {node.name}", node)
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def length(function: ast.FunctionDef) -> int:
    """Its lines, from ``def`` to its last one, without its docstring."""
    first = function.body[0]
    documented = 0 if ast.get_docstring(function) is None else first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - documented


def named(function: ast.FunctionDef) -> tuple[str, ...]:
    """The parameters that a caller fills in, one value each; an object's own is none of them."""
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return tuple(name for name in names if name not in ("self", "cls"))


def parameters(function: ast.FunctionDef) -> int:
    """How many parameters a caller fills in, ``*values`` and ``**keywords`` as one each."""
    return len(named(function)) + bool(function.args.vararg) + bool(function.args.kwarg)


def test_modules_are_short():
    lines = {name: len(text.splitlines()) for name, text in texts().items()}
    assert not {name: count for name, count in lines.items() if count > MODULE_LINES}, "divide each"


def test_files_of_tests_are_short():
    """Longer than the product's: tables of cases are read row by row."""
    tests = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("*.py"))}
    assert len(tests) > 300
    assert not {str(path): text.count("\n") for path, text in tests.items() if text.count("\n") > TEST_LINES}, "divide"


def test_functions_are_short():
    lengths = {place: length(function) for place, function in functions()}
    assert not {place: lines for place, lines in lengths.items() if lines > FUNCTION_LINES}, "divide each"


def test_functions_take_few_parameters():
    counts = {place: parameters(function) for place, function in functions()}
    assert not {place: count for place, count in counts.items() if count > PARAMETERS}, "give each a frozen dataclass"


def public(tree: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public functions of a module and the public methods of its public classes, an overload's forms aside."""
    for node in tree.body:
        if getattr(node, "name", "_").startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from public(node)
        elif "overload" not in [getattr(mark, "id", None) for mark in node.decorator_list]:
            yield node


def signature(function: ast.FunctionDef) -> tuple[str, ...]:
    """What it shares with the one that describes its parameters; () where it shares nothing.

    An override shares its name and its parameters with its base; a function in a backend's table its parameters with
    the others of the table.
    """
    if any(getattr(getattr(mark, "func", None), "attr", "") == "register" for mark in function.decorator_list):
        return ("in a table", *named(function))
    first = function.args.args[:1]
    return (function.name, *named(function)) if first and first[0].arg == "self" else ()


@cache
def contract(name: str, module: str = "cnnbench/execution/operations.py") -> set[str]:
    """The parameters that a contract describes for all functions that keep it, such as all ops."""
    body = trees()[module].body
    place = next(i for i, node in enumerate(body) if name in ast.unparse(node).partition(" = ")[0])
    lines = re.findall(r"^    (\w+(?:, \w+)*): ", body[place + 1].value.value, re.MULTILINE)
    return {parameter for line in lines for parameter in line.split(", ")}


def without_arguments(modules: Mapping[str, ast.Module]) -> list[str]:
    """Public functions that have several parameters and say nothing of them.

    A method may leave it to another class's method of the same name and parameters: to its base, or its protocol; an
    op, a loss, or the builder of a family of networks to the contract of all of these.
    """
    described = [contract("Forward"), contract("Backward"), {"loss", "output", "targets"}]
    described.append(contract("Build", "cnnbench/spec/architectures/__init__.py"))
    several = [
        (f"{name}:{function.lineno} {function.name}", function)
        for name, tree in modules.items()
        if name.startswith(("cnnbench/", "backends/")) and not name.startswith(COMMANDS)
        for function in public(tree)
        if len(named(function)) > UNEXPLAINED and {*named(function)} not in described
    ]
    explained = [function for _, function in several if "Args:" in (ast.get_docstring(function) or "")]
    known = {signature(function) for function in explained} - {()}
    return [place for place, function in several if function not in explained and signature(function) not in known]


def registered(kind: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions that backends register in tables of ops (``ops``) or of losses (``losses``)."""
    for name, tree in trees().items():
        if not (name.startswith("backends/") and kind in name):
            continue
        for node in ast.walk(tree):
            marks = node.decorator_list if isinstance(node, ast.FunctionDef) else ()
            if any(getattr(getattr(mark, "func", None), "attr", "") == "register" for mark in marks):
                yield f"{name}:{node.lineno} {node.name}", node


def backward_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for name, tree in trees().items():
        defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree) if name.startswith("backends/") else ():
            given = getattr(node.value, "id", "") if isinstance(node, ast.keyword) and node.arg == "backward" else ""
            if given in defined:
                yield f"{name} {given}", defined[given]


def test_ops_have_the_parameters_that_their_contract_describes():
    """So that 400 docstrings need not: ``Forward`` and ``Backward`` say once what each is."""
    found = {"Forward": [*registered("/ops/")], "Backward": [*backward_functions()]}
    for name, functions in found.items():
        assert len(functions) > 80, "the search finds them"
        assert len(contract(name)) == 5
        assert not [where for where, function in functions if {*named(function)} != contract(name)]
    assert {named(function) for _, function in registered("/losses.py")} == {("loss", "output", "targets")}


def test_functions_of_several_parameters_explain_them():
    assert not without_arguments(trees()), "give the docstring of each an 'Args:' section, with units and shapes"


def shared_names() -> dict[str, list[str]]:
    """The names of public classes that several modules define, with their modules."""
    found = defaultdict(list)
    for name, tree in trees().items():
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
    assert len(functions()) > 1000


def test_unexplained_parameters_are_found():
    silent = ast.parse('def f(a, b, c):\n    """Says."""\n\nclass D:\n    def f(self, a, b, c): ...\n')
    explained = ast.parse('class E:\n    def f(self, a, b, c):\n        """Says. Args: a, b, c: all."""\n')
    function, method = "cnnbench/silent.py:1 f", "cnnbench/silent.py:5 f"
    trees = {"cnnbench/silent.py": silent, f"{COMMANDS}silent.py": silent}
    assert without_arguments(trees) == [function, method]
    assert without_arguments(trees | {"cnnbench/explained.py": explained}) == [function]  # the method overrides


def test_only_the_clock_reads_time_and_sleeps():
    """Everything else takes a clock, so that tests neither wait nor depend on the machine."""
    forbidden = {"time": {"time", "monotonic", "perf_counter", "process_time", "sleep"}}
    forbidden |= {key: {"now", "utcnow", "today"} for key in ("datetime", "date", "datetime.datetime")}
    found = {
        f"{name}:{node.lineno}"
        for name, tree in trees().items()
        if name != "cnnbench/measurement/clock.py"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in forbidden.get(ast.unparse(node.value), ()))
        or (isinstance(node, ast.ImportFrom) and node.module == "time")
    }
    assert not found


def test_the_machine_s_clock_is_a_default_alone():
    """Whoever measures or waits takes its clock from its caller, who may give another."""

    def defaults(node: ast.AST) -> Iterator[ast.expr]:
        if isinstance(node, ast.arguments):
            yield from (*node.defaults, *filter(None, node.kw_defaults))
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield node.value

    counts = {"cnnbench/measurement/clock.py": -1}  # its definition
    for name, tree in trees().items():
        for node in ast.walk(tree):
            counts[name] = counts.get(name, 0) + (isinstance(node, ast.Name) and node.id == "MACHINE")
            counts[name] -= sum(isinstance(value, ast.Name) and value.id == "MACHINE" for value in defaults(node))
    assert not {name for name, count in counts.items() if count}
