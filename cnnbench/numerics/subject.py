"""What is examined: anything that runs a graph on host arrays, here or in another process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cnnbench.spec.composites import Composite
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import Layer
from cnnbench.spec.weights import split_state

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, ProgramOptions
    from cnnbench.execution.host import HostArrays, HostGradients, HostResult, HostTraining
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss
    from cnnbench.spec.optimizers import Optimizer


class Subject(Protocol):
    """Runs graphs on canonical host arrays; ``arrays`` holds weights and running statistics together."""

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        """One forward pass of a program compiled for it."""
        ...

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        """One gradient pass; ``batch`` also holds ``targets``, or ``gradient.<output>`` where there is no loss."""
        ...

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
        """One optimiser step a batch: the loss before each step, and the training state after it."""
        ...


def composites_among(kinds: Iterable[str]) -> frozenset[str]:
    """The composite kinds among those that a backend has ops for."""
    known = layer_kinds()
    return frozenset(kind for kind in kinds if issubclass(known.get(kind, Layer), Composite))


def own_composites(subject: object) -> frozenset[str]:
    """The composite kinds that a subject has ops of its own for, where it says so; the others run as their parts."""
    return frozenset(getattr(subject, "composites", ()))


class Recalling:
    """A subject that keeps its latest forward result, for checks that ask for the same program in a row.

    Args:
        subject: Who answers.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.gradient = subject.gradient
        self.steps = subject.steps
        self._latest: tuple[object, ...] = ()
        self._result: HostResult | None = None

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        """A pass of its own, whose result is kept."""
        self._result = self.subject.forward(graph, arrays, batch, options)
        self._latest = (graph, arrays, batch, options)
        return self._result

    def latest(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult | None:
        """The kept result where it is of these very operands, else None."""
        asked = (graph, arrays, batch, options)
        same = len(self._latest) == 4 and all(a is b for a, b in zip(self._latest[:3], asked[:3], strict=True))
        return self._result if same and self._latest[3] == options else None


@dataclass(frozen=True)
class InProcessSubject:
    """A loaded backend, run in this process."""

    backend: Backend

    @property
    def composites(self) -> frozenset[str]:
        """The composite kinds among the backend's ops."""
        return composites_among(self.backend.operations)

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        program = self.backend.compile_forward(graph, options)
        program.load(*split_state(graph, arrays))
        result = program.run(program.upload(batch))
        self.backend.synchronize()
        return program.download(result)

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        program = self.backend.compile_gradient(graph, options, loss)
        program.load(*split_state(graph, arrays))
        result = program.run(program.upload(batch))
        self.backend.synchronize()
        return program.download(result)

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
        program = self.backend.compile_step(graph, options, loss, optimizer)
        program.load(*split_state(graph, arrays))
        losses: list[float] = []
        states: list[HostTraining] = []
        for batch, rate in zip(batches, learning_rates, strict=True):
            losses.append(program.loss(program.run(program.upload(batch), rate)))
            states.append(program.snapshot())
        return losses, states
