"""What is examined: anything that runs a graph on host arrays, here or in another process."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cnnbench.execution.host import HostTraining
from cnnbench.numerics.session import ProgramSession
from cnnbench.spec.composites import Composite
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import Layer
from cnnbench.spec.weights import split_state

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, ProgramOptions
    from cnnbench.execution.gaps import Gap
    from cnnbench.execution.host import HostArrays, HostGradients, HostResult
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss
    from cnnbench.spec.optimizers import Optimizer


START = -1  # the state before the first step


@dataclass(frozen=True)
class Updates:
    """The steps that one step program takes.

    For example, rates (0.1, 0.2, 0.2) with ``loads`` {2: 0} are three steps, of which the second and the third both
    go on from the state after the first.

    Args:
        loss: Of the main output.
        optimizer: The update rule.
        rates: The learning rate of each step.
        reads: Which of the batches each step reads; () where each has its own.
        loads: Before a step, by its number from 0: the step after which the state was that it goes on from, or
            ``START``. The same program takes that state by ``load``.
        kept: The steps after which the state is read; None for all.
    """

    loss: Loss
    optimizer: Optimizer
    rates: Sequence[float]
    reads: Sequence[int] = ()
    loads: Mapping[int, int] = field(default_factory=dict)
    kept: Collection[int] | None = None

    def batch_of(self, step: int) -> int:
        """The position of a step's batch."""
        return self.reads[step] if self.reads else step

    def keeps(self, step: int) -> bool:
        """Whether the state after a step is read."""
        return self.kept is None or step in self.kept


class TrainedStep(NamedTuple):
    """One optimiser step: the loss before it, and the training state after it where that is read."""

    loss: float
    training: HostTraining | None


class Subject(Protocol):
    """Runs graphs on canonical host arrays.

    ``graph`` is compiled for each call with ``options``; ``arrays`` holds its weights and running statistics by full
    name; ``batch`` holds its inputs, and in training its masks, by name.
    """

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        """One forward pass.

        Args:
            graph: Compiled anew for the call.
            arrays: Its weights and running statistics by full name.
            batch: Its inputs, and in training its masks, by name.
            options: How it is compiled.
        """
        ...

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        """One gradient pass; ``batch`` also holds ``targets``, or ``gradient.<output>`` where there is no loss.

        Args:
            graph: Compiled anew for the call.
            arrays: Its weights and running statistics by full name.
            batch: Its inputs and masks by name, and ``targets``, or ``gradient.<output>`` where there is no loss.
            options: How it is compiled.
            loss: Of the main output; None: gradients of the outputs are given.
        """
        ...

    def steps(
        self,
        graph: Graph,
        arrays: HostArrays,
        batches: Sequence[HostArrays],
        options: ProgramOptions,
        updates: Updates,
    ) -> Generator[TrainedStep, None, None]:
        """One optimiser step for each rate, run as they are asked for: only one state need be in memory.

        Args:
            graph: Compiled anew for the call.
            arrays: The weights and running statistics to begin with, by full name.
            batches: As in ``gradient``, with ``targets``.
            options: How it is compiled.
            updates: The loss, the update rule, and what each step does.
        """
        ...


def composites_among(kinds: Iterable[str]) -> frozenset[str]:
    """The composite kinds among those that a backend has ops for."""
    known = layer_kinds()
    return frozenset(kind for kind in kinds if issubclass(known.get(kind, Layer), Composite))


def own_composites(subject: object) -> frozenset[str]:
    """The composite kinds that a subject has ops of its own for, where it says so; the others run as their parts."""
    return frozenset(getattr(subject, "composites", ()))


@dataclass(frozen=True)
class InProcessSubject:
    """A loaded backend, run in this process."""

    backend: Backend

    @property
    def composites(self) -> frozenset[str]:
        """The composite kinds among the backend's ops."""
        return composites_among(self.backend.operations)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What the backend declares."""
        return self.backend.operations.gaps

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        program = self.backend.compile_forward(graph, options)
        program.load(*split_state(graph, arrays))
        result = program.run(program.upload(batch))
        self.backend.synchronize()
        return program.download(result)

    def open(self, graph: Graph, options: ProgramOptions) -> ProgramSession:
        """A forward program that is compiled once and kept."""
        return ProgramSession(self.backend, graph, self.backend.compile_forward(graph, options))

    def open_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None) -> ProgramSession:
        """A gradient program that is compiled once and kept.

        Args:
            graph: What is compiled.
            options: How.
            loss: Of the main output; None: gradients of the outputs are given.
        """
        return ProgramSession(self.backend, graph, self.backend.compile_gradient(graph, options, loss))

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        program = self.backend.compile_gradient(graph, options, loss)
        program.load(*split_state(graph, arrays))
        del arrays  # the program has its own: who made these for the call alone need not keep them
        result = program.run(program.upload(batch))
        self.backend.synchronize()
        return program.download(result)

    def steps(
        self,
        graph: Graph,
        arrays: HostArrays,
        batches: Sequence[HostArrays],
        options: ProgramOptions,
        updates: Updates,
    ) -> Generator[TrainedStep, None, None]:
        program = self.backend.compile_step(graph, options, updates.loss, updates.optimizer)
        wanted, held = set(updates.loads.values()), {START: HostTraining(*split_state(graph, arrays), {})}
        program.load(held[START].weights, held[START].state)
        del arrays  # the program has its own
        if START not in wanted:
            del held[START]
        for i, rate in enumerate(updates.rates):
            if i in updates.loads:
                begin = held[updates.loads[i]]
                program.load(begin.weights, begin.state, begin.slots or None)
                later = {after for step, after in updates.loads.items() if step > i}
                held = {after: state for after, state in held.items() if after in later}
                del begin
            loss = program.loss(program.run(program.upload(batches[updates.batch_of(i)]), rate))
            after = program.snapshot() if updates.keeps(i) or i in wanted else None
            if after is not None and i in wanted:
                held[i] = after
            yield TrainedStep(loss, after if updates.keeps(i) else None)
            del after  # before the next one is made
