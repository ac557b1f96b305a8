"""Puts a fault into a loaded backend, and takes it out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.execution.contract import Backend
from cnnbench.numerics.faults.base import Fault
from cnnbench.numerics.faults.registry import fault
from cnnbench.numerics.subject import InProcessSubject, Subject

if TYPE_CHECKING:
    from cnnbench.execution.contract import HostArrays, HostGradients, HostResult, HostTraining, ProgramOptions
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss
    from cnnbench.spec.optimizers import Optimizer


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


def faulty_subject(backend: Backend, name: str) -> Subject:
    """The backend with a fault, as a subject: each of its programs has it, and the backend itself stays right."""
    fault(name)
    return _Faulty(backend, name)


@dataclass(frozen=True)
class _Faulty:
    backend: Backend
    name: str

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        with inject(self.backend, self.name):
            return InProcessSubject(self.backend).forward(graph, arrays, batch, options)

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        with inject(self.backend, self.name):
            return InProcessSubject(self.backend).gradient(graph, arrays, batch, options, loss)

    def steps(
        self,
        graph: Graph,
        arrays: HostArrays,
        batches: Sequence[HostArrays],
        options: ProgramOptions,
        loss: Loss,
        optimizer: Optimizer,
        learning_rates: Sequence[float],
    ) -> tuple[list[float], list[HostTraining]]:
        with inject(self.backend, self.name):
            subject = InProcessSubject(self.backend)
            return subject.steps(graph, arrays, batches, options, loss, optimizer, learning_rates)
