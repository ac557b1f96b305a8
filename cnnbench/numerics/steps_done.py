"""What was done to a kept program, so that all of it can be done again to another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from cnnbench.numerics.session import Calls, OpensSessions, Session

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.host import HostArrays
    from cnnbench.spec.graph import Graph

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class StepsDone:
    """The steps that led to a call, in order.

    Args:
        steps: Each a function of the session that it is done to.
        arrays: That were loaded last.
        batches: What the operands hold, by their names.
        name, calls: The operands of the last run, and how often they were run.
    """

    steps: list[Callable[[Session, Graph], object]] = field(default_factory=list)
    arrays: Arrays = field(default_factory=dict)
    batches: dict[str, Arrays] = field(default_factory=dict)
    name: str = ""
    calls: int = 0

    @property
    def batch(self) -> Arrays:
        """What the last run was on."""
        return self.batches[self.name]

    def done_again(self, subject: OpensSessions, graph: Graph, options: ProgramOptions) -> Iterator[Arrays]:
        """The outputs of each call of the last run, on a program of this graph to which all was done before.

        Args:
            subject: That compiles it.
            graph: A part of the one that was recorded; it loads its own arrays of those that were loaded.
            options: How it is compiled.
        """
        session = subject.open(graph, options)
        try:
            for step in self.steps[:-1]:
                step(session, graph)
            for _ in range(self.calls):
                yield session.run(self.name).result.outputs
        finally:
            session.close()


class RecordedSession:
    """A session whose steps are recorded from its program's compilation on.

    Args:
        subject: That compiles it.
        graph: What it computes.
        options: How it is compiled.
    """

    def __init__(self, subject: OpensSessions, graph: Graph, options: ProgramOptions) -> None:
        self._inner = subject.open(graph, options)
        self._subject, self._options = subject, options
        self.recording = StepsDone()

    def load(self, arrays: HostArrays) -> None:
        """As ``Session.load``."""

        def step(session: Session, graph: Graph) -> None:
            session.load(of_graph(graph, arrays))

        self.recording.steps.append(step)
        self.recording.arrays = arrays
        self._inner.load(arrays)

    def upload(self, name: str, batch: HostArrays) -> None:
        """As ``Session.upload``."""
        self.recording.steps.append(lambda session, graph: session.upload(name, batch))
        self.recording.batches[name] = batch
        self._inner.upload(name, batch)

    def run(self, name: str, calls: int = 1) -> Calls:
        """As ``Session.run``."""

        def step(session: Session, graph: Graph) -> None:
            try:
                session.run(name, calls)
            except Exception:  # as the whole program may have raised, on NaN
                return

        self.recording.steps.append(step)
        self.recording.name, self.recording.calls = name, calls
        return self._inner.run(name, calls)

    def overwrite(self, name: str, source: str) -> bool:
        """As ``Session.overwrite``."""
        self.recording.steps.append(lambda session, graph: session.overwrite(name, source))
        done = self._inner.overwrite(name, source)
        if done:
            self.recording.batches[name] = self.recording.batches[source]
        return done

    def after_another(self, arrays: Arrays, batch: Arrays) -> None:
        """Records that another program of the same graph was loaded and run by now; nothing is done here.

        Args:
            arrays: Its weights and running statistics by full name.
            batch: That it was run on.
        """

        def step(session: Session, graph: Graph) -> None:
            with closing(self._subject.open(graph, self._options)) as other:
                other.load(of_graph(graph, arrays))
                other.upload("other", batch)
                other.run("other")

        self.recording.steps.append(step)

    def held(self) -> HostArrays | None:
        """As ``Session.held``."""
        return self._inner.held()

    def close(self) -> None:
        """As ``Session.close``."""
        self._inner.close()


def of_graph(graph: Graph, arrays: Arrays) -> Arrays:
    """Those of the arrays that a graph has."""
    wanted = {spec.name for spec in (*graph.named_weights(), *graph.named_state())}
    return {name: array for name, array in arrays.items() if name in wanted}
