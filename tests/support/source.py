"""Reads the product's own source: its modules, what each imports, its classes and functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CORE = ROOT / "cnnbench"
BACKENDS = ROOT / "backends"


class Import(NamedTuple):
    """One imported name, with its line, and whether only type checkers see it."""

    target: str
    line: int
    typing_only: bool


def files() -> dict[str, Path]:
    """Every module of the core and of the backends by its dotted name; a package is its ``__init__``."""
    found = {}
    for top in (CORE, *(path for path in sorted(BACKENDS.iterdir()) if (path / "__init__.py").is_file())):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(text: str, package: str = "") -> list[Import]:
    """Everything that a module imports: at its top, within functions, and for type checkers only.

    Args:
        text: Its source.
        package: The package that relative imports start from.
    """
    return list(_walk(ast.parse(text), typing_only=False, package=package))


def top_level(text: str, package: str = "") -> list[Import]:
    """What importing the module imports: everything but the bodies of functions."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    return list(_walk(tree, typing_only=False, package=package))


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


def imported_modules(names: Mapping[str, str]) -> dict[str, set[str]]:
    """Which modules each module imports.

    Importing a submodule is not importing its package: ``import a.b`` runs ``a`` too, but uses nothing of it.

    Args:
        names: The source of each module by its dotted name.
    """
    found: dict[str, set[str]] = {}
    for name, text in names.items():
        is_package = any(other.startswith(f"{name}.") for other in names)
        targets = [item.target for item in imports(text, name if is_package else name.rpartition(".")[0])]
        # What is imported is a module, or a name within the module before its last dot.
        modules = {target if target in names else target.rpartition(".")[0] for target in targets}
        found[name] = {module for module in modules if module in names and module != name}
    return found


def circles(edges: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """The sets of more than one module that all import each other, directly or through others (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[frozenset[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        path.append(name)
        for other in edges[name]:
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in path:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            start = path.index(name)
            if len(path) - start > 1:
                found.append(frozenset(path[start:]))
            del path[start:]

    for name in edges:
        if name not in order:
            visit(name)
    return found
