"""Puts a fault into a loaded backend, and takes it out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cnnbench.execution.contract import Backend
from cnnbench.numerics.faults.base import Fault
from cnnbench.numerics.faults.registry import fault


@contextmanager
def inject(backend: Backend, name: str) -> Iterator[Fault]:
    """Within it, programs that ``backend`` compiles have the fault. Raises SuiteError for an unknown name."""
    found = fault(name)
    if found.operation is not None:
        right = backend.operations
        backend.operations = right.replace(found.kind, found.operation(right[found.kind], right))
        try:
            yield found
        finally:
            backend.operations = right
        return
    with _other_terms(backend, found):
        yield found


@contextmanager
def _other_terms(backend: Any, found: Fault) -> Iterator[None]:
    """Programs are compiled for another loss or another update rule than was asked for."""
    gradient, step = backend.compile_gradient, backend.compile_step

    def compile_gradient(graph: Any, options: Any, loss: Any = None) -> Any:
        return gradient(graph, options, found.loss(loss) if found.loss and loss is not None else loss)

    def compile_step(graph: Any, options: Any, loss: Any, optimizer: Any) -> Any:
        changed = found.optimizer(optimizer) if found.optimizer else optimizer
        return step(graph, options, found.loss(loss) if found.loss else loss, changed)

    backend.compile_gradient, backend.compile_step = compile_gradient, compile_step
    try:
        yield
    finally:
        del backend.compile_gradient, backend.compile_step
