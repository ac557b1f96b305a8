"""The members of a comparison group in one launch, and the requests that are sent to their workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from cnnbench.errors import CnnbenchError, StorageError
from cnnbench.execution.host import HostArrays
from cnnbench.harness.passes.findings import Failure, LaunchPart, Phases, Sample
from cnnbench.harness.passes.limits import RoundFacts
from cnnbench.harness.passes.timed_answers import TimedAnswers
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import LatencySettings
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.interface import Worker
from cnnbench.harness.worker.origin import Origin
from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.protocol.messages import ReplyT, Request
from cnnbench.harness.worker.protocol.timing import CollectReply, CollectRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.observation import Observation
from cnnbench.measurement.sampling import WarmUp


@dataclass(frozen=True)
class TimedGroup:
    """A comparison group in one launch.

    Args:
        name: Its label, by which its random orders are drawn.
        launch: Counted from 0.
        settings: Of the suite.
        control: The cell that is timed in a second worker, too; None for none.
        apart: Whether a part of the group alone is timed.
    """

    name: str
    launch: int
    settings: LatencySettings
    control: Cell | None = None
    apart: bool = False


@dataclass
class GroupMember:
    """A cell of a group in one launch, or the control of one: the same program in another worker.

    Args:
        outputs: Digest of what its first call gave.
        evidence: What its calls are on, and are compared with.
        rounds: What each round showed of how it was measured.
        lost: Whether a control has ended.
    """

    cell: Cell
    spec: WorkerSpec
    worker: Worker
    origin: Origin
    phases: Phases
    warm_up: WarmUp
    outputs: str
    evidence: TimedAnswers
    rounds: list[RoundFacts] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_control: bool = False
    lost: bool = False

    def lose(self) -> None:
        """Ends a control."""
        self.lost = True

    def add(self, launch: int, number: int, latencies_s: Sequence[float]) -> None:
        """Takes further samples of a round.

        Args:
            launch: The launch's number.
            number: The round's.
            latencies_s: Seconds of each call, in their order.
        """
        index = sum(sample.round == number for sample in self.samples)
        self.samples.extend(
            Sample(launch=launch, round=number, index=index + i, latency_s=value) for i, value in enumerate(latencies_s)
        )

    def of_round(self, number: int) -> list[float]:
        """The samples of a round."""
        return [sample.latency_s for sample in self.samples if sample.round == number]

    def part(self, group: TimedGroup, control: GroupMember | None) -> LaunchPart:
        """What the launch gave of its cell. Args: control: the cell's control, where it has one."""
        return LaunchPart(
            origin=self.origin,
            launch=group.launch,
            phases=self.phases,
            steady=self.warm_up.steady,
            calls_per_sample=self.warm_up.calls_per_sample,
            samples=tuple(self.samples),
            observations=tuple(self.observations),
            notes=tuple(self.notes),
            outputs=self.outputs,
            apart=group.apart,
            control=tuple(control.samples) if control else (),
        )


class GroupWork:
    """Work on one launch of a comparison group.

    Args:
        work: The pass.
        pool: Its workers.
        group: What is timed, and how.
    """

    def __init__(self, work: Work, pool: Pool, group: TimedGroup) -> None:
        self.work = work
        self.pool = pool
        self.group = group

    def ask(self, spec: WorkerSpec, request: Request[ReplyT]) -> ReplyT:
        """A request about a prepared cell to the worker that holds it."""
        return self.pool.get(spec).worker.ask(request, timeout_s=self.work.facts.suite.timeouts.call_s)

    def collect(self, spec: WorkerSpec, cell: Cell) -> tuple[CollectReply, HostArrays]:
        """What the samples of a prepared cell gave since the last time, once its worker is idle."""
        path = self.pool.get(spec).worker.folder / f"{cell.key}.collected"
        try:
            found = self.ask(spec, CollectRequest(cell=cell.id, output=path))
            return found, read_arrays(path)
        finally:
            path.unlink(missing_ok=True)

    def is_open(self, member: GroupMember) -> bool:
        """Whether it is still to be sampled."""
        return self.work.is_open(member.cell) and not member.lost

    def fail(self, member: GroupMember, failure: Failure) -> None:
        """Ends the cell, or the control alone."""
        if member.is_control:
            member.lose()
        else:
            self.work.fail(member.cell, failure)

    def attempt(self, member: GroupMember) -> AbstractContextManager[None]:
        """Work on a member: a failure ends its cell; that of a control ends the control alone."""
        if member.is_control:
            return self.attempt_control(member.cell, member.lose)
        return self.attempt_cell(member.cell)

    def attempt_cell(self, cell: Cell) -> AbstractContextManager[None]:
        """Work on a cell, which a failure ends."""
        return self.work.guarded(cell, lambda: self.pool.peek(self.work.facts.spec(cell)))

    @contextmanager
    def attempt_control(self, cell: Cell, lose: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Work on the control of a cell: whatever goes wrong is noted, and ends the control (``lose``) alone."""
        try:
            yield
        except StorageError:  # the cell's own part could not be written either
            raise
        except Exception as error:
            lose()
            reason = error.message if isinstance(error, CnnbenchError) else repr(error)
            self.work.note(f"{cell.id} has no control: {reason}")
