"""The digest of all code that an oracle's answer depends on: the core's, and that of the plugins that take part."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from cnnbench import registry
from cnnbench.execution import sources
from cnnbench.execution.backends import load_backend
from cnnbench.execution.operations import Operations
from cnnbench.numerics.budgets.base import exact_rule, formulas, registered
from cnnbench.numerics.reference import reference


@dataclass
class _Taken:
    """What plugins had given when the reference was loaded, and how often that has changed."""

    parts: dict[str, object] = field(default_factory=dict)
    changes: int = 0


_TAKEN = _Taken()


def renew_reference() -> None:
    """Loads the reference anew where plugins give other code than before: a notebook's cell was run again, a module
    was reloaded. Called before checks, so that these and the oracle have the same ops.
    """
    found = _given(load_backend("numpy").operations)
    if found != _TAKEN.parts:
        reference.cache_clear()
        _digest.cache_clear()
        _TAKEN.parts, _TAKEN.changes = found, _TAKEN.changes + 1


def _given(operations: Operations) -> dict[str, object]:
    parts: dict[str, object] = {**registered(), **registry.layer_kinds()}
    parts = {name: item for name, item in parts.items() if sources.module_of(item) not in sources.OWN}
    given = ((kind, operations[kind]) for kind in operations.givers)
    return parts | {f"op {kind}": tuple(map(_identity, (op.forward, op.backward))) for kind, op in given}


def _identity(item: object) -> object:
    """What two functions have in common that a hook defined anew in each call: their code and what it closes over."""
    code = getattr(item, "__code__", None)
    if code is None:
        return item
    cells = (cell.cell_contents for cell in getattr(item, "__closure__", None) or ())
    return (code, getattr(item, "__defaults__", None), *map(_identity, cells))


def code_digest(kinds: Iterable[str] = (), *others: object) -> str:
    """SHA-256 of the sources that answers depend on.

    A plugin's code counts where it defines one of the kinds, its op or its budget, and then with all that it imports
    from beside it: an edit of any of it makes other answers.

    Args:
        kinds: Of the network's layers.
        others: Further values whose code takes part: a loss, an optimiser.
    """
    return _digest(frozenset(kinds), frozenset(map(sources.module_of, others)), _TAKEN.changes)


@cache
def _digest(kinds: frozenset[str], modules: frozenset[str], state: int) -> str:
    used = {kind: _used(kind) for kind in sorted(kinds)}
    foreign = modules.union(sources.module_of(item) for items in used.values() for item in items) - sources.OWN
    if not foreign:
        return _core_digest()
    hooks = {sources.module_of(item.function) for item in registry.implementations("cnnbench_operations")}
    own = sources.digest(foreign | hooks, str(state) if state > 1 else "")
    chosen = [_signature(item) for items in used.values() for item in items]  # of several that the sources hold
    return hashlib.sha256(f"{_core_digest()} {own} {chosen}".encode()).hexdigest()


def _used(kind: str) -> list[object]:
    """The kind, its op, who gave that, and its budgets."""
    operations = reference().backend.operations
    used: list[Any] = [*formulas(kind), exact_rule(kind)]
    known = registry.layer_kinds()
    used += [known[kind]] if kind in known else []
    if kind in operations:
        operation, giver = operations[kind], operations.givers.get(kind)
        used += [operation.forward, operation.backward, operation.weight_layout.to_native]
        used += [operation.weight_layout.to_canonical, giver.function if giver else None]
    return [item for item in used if item is not None]


def _signature(item: object) -> str:
    """Which of a module's functions it is, and what it closes over, in words that are the same in every process."""
    if isinstance(item, bool | int | float | str | bytes | None):
        return repr(item)
    if isinstance(item, partial):
        return f"{_signature(item.func)} of {[*map(_signature, item.args)]} {sorted(item.keywords)}"
    if isinstance(item, tuple | list):
        return f"{[*map(_signature, item)]}"
    name = f"{sources.module_of(item)}.{getattr(item, '__qualname__', type(item).__qualname__)}"
    code = getattr(item, "__code__", None)
    if code is None:
        return name
    cells = [_signature(cell.cell_contents) for cell in getattr(item, "__closure__", None) or ()]
    constants = [repr(value) for value in code.co_consts if isinstance(value, bool | int | float | str | None)]
    defaults = _signature(getattr(item, "__defaults__", None))
    return f"{name} {code.co_code.hex()} {code.co_names} {constants} {defaults} {cells}"


@cache
def _core_digest() -> str:
    """Of the reference backend, the spec, the contract and this package, on this NumPy, BLAS and processor."""
    core = Path(__file__).parents[1]
    backend = sys.modules[sources.module_of(reference().backend)]
    folders = (Path(str(backend.__file__)).parent, core / "spec", core / "execution", core / "numerics")
    return hashlib.sha256(f"{_arithmetic()} {sources.files_digest(folders)}".encode()).hexdigest()


def _arithmetic() -> str:
    """NumPy's version, its BLAS as it runs here, and the instructions that both may use: other ones round otherwise."""
    from threadpoolctl import threadpool_info

    config: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    blas = config.get("Build Dependencies", {}).get("blas", {})
    loaded = [item for item in threadpool_info() if item["user_api"] == "blas"]
    own = [item for item in loaded if "numpy" in str(item["filepath"])] or loaded
    facts = [np.__version__, platform.machine(), *config.get("SIMD Extensions", {}).get("found", [])]
    facts += [str(blas.get(key)) for key in ("name", "version")]
    facts += sorted(f"{item['internal_api']} {item['version']} {item.get('architecture')}" for item in own)
    return "\0".join(facts)
