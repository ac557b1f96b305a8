"""The direction of imports: read from the source of every module, so that no wall moves unseen."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "cnnbench"
BACKENDS = ROOT / "backends"

# A room may import those before it and itself; rooms of one line do not know each other.
ORDER = (
    (
        "errors",
        "version",
    ),
    ("spec",),
    ("hookspecs",),
    ("registry",),
    ("execution",),
    ("measurement",),
    ("training",),
    ("numerics",),
    (
        "conformance",
        "porting",
    ),
    (
        "claims",
        "views",
    ),
    ("harness",),
    ("gates",),
    ("output",),
    ("face",),
    (
        "cli",
        "pytest_plugin",
    ),
    (
        "builtin",
        "__main__",
    ),
)
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}
PLANNED = {"porting", "claims", "views"}
FRAMEWORKS = {"torch", "torchvision", "jax", "jaxlib", "flax", "optax", "tensorflow", "keras"}
BACKEND_MAY_IMPORT = {"errors", "hookspecs", "spec", "execution"}
OWN_FRAMEWORK = {
    "cnnbench_numpy": set(),
    "cnnbench_torch": {"torch"},
    "cnnbench_jax": {"jax", "jaxlib", "optax", "ml_dtypes"},
    "cnnbench_tensorflow": {"tensorflow", "h5py", "keras", "ml_dtypes"},
}


class Import(NamedTuple):
    """One imported module, with its line, and whether only type checkers see it."""

    target: str
    line: int
    typing_only: bool


def imports(path: Path) -> list[Import]:
    """Everything that a file imports, at its top or within functions."""
    return list(_walk(ast.parse(path.read_text(encoding="utf-8")), typing_only=False, package=_package(path)))


def _package(path: Path) -> str:
    root = CORE.parent if path.is_relative_to(CORE) else BACKENDS
    return ".".join(path.relative_to(root).parent.parts)


def _walk(node: ast.AST, *, typing_only: bool, package: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, typing_only) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
        module = ".".join(filter(None, (base, node.module)))
        yield from (Import(f"{module}.{alias.name}", node.lineno, typing_only) for alias in node.names)
    checked = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                inner = typing_only or (checked and field == "body")
                yield from _walk(child, typing_only=inner, package=package)


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def identifier(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room(target: str) -> str | None:
    """The room of an imported name under cnnbench; None for the package itself (its version)."""
    parts = target.split(".")
    return parts[1] if parts[0] == "cnnbench" and len(parts) > 1 and parts[1] in RANKS else None


@pytest.mark.parametrize("path", modules(CORE), ids=identifier)
def test_the_core_imports_downwards_only(path):
    relative = path.relative_to(CORE)
    own = relative.parts[0].removesuffix(".py")
    if own == "__init__":  # at its top the version; the rest for type checkers, and when it is first asked for
        own = "face"
        assert {room(item.target) for item in top_level(path) if not item.typing_only} <= {"version", None}
    assert own in RANKS, f"{own} is a new room: give it its rank, and say so in docs/house.md"
    wrong = [
        f"{path}:{item.line}: {own} imports {item.target}"
        for item in imports(path)
        if (other := room(item.target)) is not None and other != own and not RANKS[other] < RANKS[own]
    ]
    assert not wrong


@pytest.mark.parametrize("path", modules(CORE), ids=identifier)
def test_the_core_imports_no_framework_and_no_backend(path):
    forbidden = FRAMEWORKS | set(OWN_FRAMEWORK)
    assert not [item for item in imports(path) if item.target.split(".")[0] in forbidden]


@pytest.mark.parametrize("path", modules(BACKENDS), ids=identifier)
def test_a_backend_imports_the_contract_and_its_own_framework(path):
    own = path.relative_to(BACKENDS).parts[0]
    allowed = {own, "numpy", *OWN_FRAMEWORK[own], *sys.stdlib_module_names}
    wrong = []
    for item in imports(path):
        top = item.target.split(".")[0]
        inside = top == "cnnbench" and room(item.target) in BACKEND_MAY_IMPORT
        if not (inside or top in allowed):
            wrong.append(f"{path}:{item.line}: {own} imports {item.target}")
    assert not wrong


@pytest.mark.parametrize("path", sorted(BACKENDS.glob("*/plugin.py")), ids=identifier)
def test_a_backend_s_plugin_module_imports_no_framework_at_its_top(path):
    own = path.relative_to(BACKENDS).parts[0]
    top = [item for item in top_level(path) if not item.typing_only]
    assert not [item for item in top if item.target.split(".")[0] in {"numpy", *OWN_FRAMEWORK[own]}]


@pytest.mark.parametrize("path", [CORE / "pytest_plugin.py"], ids=identifier)
def test_the_pytest_plugin_imports_pytest_and_the_standard_library_only(path):
    allowed = {"pytest", "_pytest", *sys.stdlib_module_names}
    top = [item for item in top_level(path) if not item.typing_only]
    assert not [item for item in top if item.target.split(".")[0] not in allowed]


def top_level(path: Path) -> list[Import]:
    """What importing the file imports: everything but the bodies of functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            node.body = [] if not isinstance(node, ast.Lambda) else ast.Constant(None)
    return list(_walk(tree, typing_only=False, package=_package(path)))


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    """The tests above could not fail if it saw none."""
    monkeypatch.setattr(sys.modules[__name__], "CORE", tmp_path / "cnnbench")
    folder = tmp_path / "cnnbench" / "spec" / "layers"
    folder.mkdir(parents=True)
    file = folder / "bad.py"
    file.write_text(
        "import torch.nn as nn\n"
        "from cnnbench import harness\n"
        "from ..graph import model\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import jax\n"
        "def f():\n    from cnnbench.cli import main\n"
    )
    found = imports(file)
    assert found == [
        Import("torch.nn", 1, False),
        Import("cnnbench.harness", 2, False),
        Import("cnnbench.spec.graph.model", 3, False),
        Import("typing.TYPE_CHECKING", 4, False),
        Import("jax", 6, True),
        Import("cnnbench.cli.main", 8, False),
    ]
    assert [item.line for item in top_level(file)] == [1, 2, 3, 4, 6]
    assert room("cnnbench.harness") == "harness"
    assert room("cnnbench.__version__") is None


def test_every_rank_is_a_room():
    present = {path.stem if path.is_file() else path.name for path in CORE.iterdir()}
    assert set(RANKS) - PLANNED <= present
