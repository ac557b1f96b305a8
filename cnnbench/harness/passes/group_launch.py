"""One launch of a comparison group: starts its programs, times them in the same rounds, and releases them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnbench.harness.passes.events import AnchorChosen
from cnnbench.harness.passes.findings import Failure
from cnnbench.harness.passes.headroom import MemoryHeadroom
from cnnbench.harness.passes.limits import dishonest
from cnnbench.harness.passes.machine_limit import too_little
from cnnbench.harness.passes.members import GroupMember, GroupWork
from cnnbench.harness.passes.preparation import start
from cnnbench.harness.passes.rounds import Rounds
from cnnbench.harness.passes.worker_session import WorkerSession
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.protocol.timing import FeedRequest, ReleaseRequest
from cnnbench.spec.streams import stream

SHORT_S = 0.05
LEAST_BLOCKS = 2  # one would be compared with nothing, whatever memory there is


class GroupLaunch:
    """One launch of a comparison group, in parts where memory does not hold all of its programs.

    Example: of the group A, B, C, D memory holds two programs at a time, and a part has two rounds. A and B are timed
    in rounds 0 and 1, A and C in rounds 2 and 3, A and D in rounds 4 and 5. A, which takes part in every round, is the
    anchor: the ratio C / D is computed as (C / A) (A / D). A group that fits is timed in one part, without an anchor.

    Args:
        group: The group's work in this launch.
        headroom: The memory that its workers may still take.
    """

    def __init__(self, group: GroupWork, headroom: MemoryHeadroom) -> None:
        self._group = group
        self._headroom = headroom
        self._work = group.work
        self._rounds = Rounds(group, lambda member: start(group, member.cell, member.spec))
        self._control: GroupMember | None = None
        self._anchor_key = group.work.facts.anchors.get(group.group.name)

    def time(self, cells: Sequence[Cell]) -> None:
        """Times cells in the same rounds, in parts where memory does not hold all of them."""
        waiting = self._blocks(cells)
        rounds = self._group.group.settings.rounds
        anchor: list[GroupMember] = []
        parts = 0
        while waiting:
            present = [member for member in anchor if self._group.is_open(member)]
            new = self._started(waiting, present)
            if waiting and new and not present:
                anchor = self._anchored(new)
            self._rounds.run([*present, *new], first=parts * rounds)
            parts += 1
            kept = anchor if waiting else []
            self._end([member for member in (*present, *new) if member not in kept])
            if waiting:
                self._group.pool.keep({member.spec for member in kept})
        if parts > 1 and self._group.group.launch == 0:
            through = anchor[0].cell.id if anchor else "nothing"
            self._work.note(
                f"group {self._group.group.name} was timed in {parts} parts, because its programs do not fit into "
                f"memory together: ratios between parts are computed through {through}"
            )

    def _blocks(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        """The sides of each cell, with the anchor first and the others in random order.

        The order is random because the program that starts first may be faster.
        """
        group = self._group.group
        generator = stream(self._work.facts.suite.seed, "start", group.name, group.launch)
        blocks: dict[str, list[Cell]] = {}
        for position in generator.permutation(len(cells)):
            blocks.setdefault(cells[position].key, []).append(cells[position])
        return [blocks[key] for key in sorted(blocks, key=lambda key: key != self._anchor_key)]

    def _started(self, waiting: list[list[Cell]], present: Sequence[GroupMember]) -> list[GroupMember]:
        """Takes blocks from ``waiting`` and starts their programs: at least two blocks together, then what fits."""
        started: list[GroupMember] = []
        blocks = 1 if present else 0
        while waiting and (blocks < LEAST_BLOCKS or self._has_headroom([*present, *started])):
            for cell in waiting.pop(0):
                started += self._with_control(cell)
            blocks += 1
        return started

    def _has_headroom(self, busy: Sequence[GroupMember]) -> bool:
        """Whether memory holds another program; idle workers are ended first where that is needed."""
        if not self._headroom.has_left():
            self._group.pool.keep({member.spec for member in busy})
        return self._headroom.has_left()

    def _anchored(self, new: Sequence[GroupMember]) -> list[GroupMember]:
        """The members of the anchor: the first cell that started, both sides. A group keeps it in later launches."""
        key = new[0].cell.key
        if self._anchor_key is None:
            self._anchor_key = key
            self._work.report(AnchorChosen(self._group.group.name, key))
        return [member for member in new if member.cell.key == key and not member.is_control]

    def _with_control(self, cell: Cell) -> list[GroupMember]:
        spec = self._work.facts.spec(cell)
        ready: GroupMember | Failure | None = None
        with self._group.attempt_cell(cell), self._headroom.taken(spec):
            ready = start(self._group, cell, spec)
            if isinstance(ready, Failure):
                self._work.fail(cell, ready)
        if not isinstance(ready, GroupMember):
            return []
        if cell is not self._group.group.control:
            return [ready]
        self._control = self._started_control(cell)
        return [ready, self._control] if self._control else [ready]

    def _started_control(self, cell: Cell) -> GroupMember | None:
        """The A/A control: the same program in a second worker. None where it fails, which does not fail the cell."""
        spec = replace(self._work.facts.spec(cell), side="control")
        started: GroupMember | Failure | None = None
        with self._group.attempt_control(cell), self._headroom.taken(spec):
            started = start(self._group, cell, spec)
            if isinstance(started, Failure):
                self._work.note(f"{cell.id} has no control: {started.reason}")
        if not isinstance(started, GroupMember):
            return None
        started.is_control = True
        return started

    def _confirm(self, member: GroupMember) -> None:
        """After the last sample, checks the outputs of one more call, on an input that is new to the program.

        A program whose call takes ``SHORT_S`` or longer is called again in the first launch only. In every launch the
        rounds themselves are checked for latencies that the machine cannot reach.
        """
        cell, failure = member.cell, None
        rows = member.evidence.last_rows()
        if rows and (self._group.group.launch == 0 or member.warm_up.call_s < SHORT_S):
            self._group.ask(member.spec, FeedRequest(cell=cell.id, rows=rows))
            session = WorkerSession(member.worker, self._work.facts.suite.timeouts.call_s, cell.id)
            outputs = session.run("timed 0").result.outputs
            failure = member.evidence.call(
                outputs, [member.evidence.images[i] for i in rows[0]], "after the last sample"
            )
        lie = dishonest(member.rounds, len(member.spec.processors)) or too_little(self._work, member)
        if failure is None and lie is not None:
            failure = Failure(status="error", reason=f"its latency cannot be believed: {lie}")
        if failure is not None:
            self._work.fail(cell, failure)

    def _end(self, ended: Sequence[GroupMember]) -> None:
        """Confirms and reports the samples of each member, and releases its program."""
        control = self._control
        launch = self._group.group.launch
        for member in ended:
            if self._group.is_open(member):
                with self._group.attempt(member):
                    self._confirm(member)
        for member in ended:
            if not member.is_control and self._work.is_open(member.cell):
                own = control if control and member.cell is control.cell else None
                self._work.keep(member.cell, f"launch-{launch}", member.part(self._group.group, own))
        for member in ended:
            if self._work.is_open(member.cell):
                with self._group.attempt(member):
                    self._group.ask(member.spec, ReleaseRequest(cell=member.cell.id))
