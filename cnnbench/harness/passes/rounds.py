"""Randomised rounds: the programs of a comparison group one after another, the two sides of a cell in turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any

from cnnbench.harness.passes.events import RoundFinished
from cnnbench.harness.passes.findings import Failure
from cnnbench.harness.passes.limits import RoundFacts
from cnnbench.harness.passes.members import GroupMember, GroupWork
from cnnbench.harness.passes.timed_answers import Rows
from cnnbench.harness.worker.protocol.timing import (
    BeginTurnsRequest,
    CollectReply,
    EndTurnsReply,
    EndTurnsRequest,
    FeedRequest,
    SampleRequest,
    TurnRequest,
)
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.observation import children_seconds, processor_seconds
from cnnbench.spec.streams import stream

LEAST_ROUNDS = 3
IDLE_SHARE = 0.05  # of a processor, that idle workers together may use while another is timed
IDLE_TICKS_S = 0.02  # two ticks of the kernel's clock, below which nothing can be said

Restart = Callable[[GroupMember], GroupMember | Failure]
"""Prepares a program again whose worker has died."""


class Rounds:
    """The rounds of one launch of a comparison group.

    Example: of the programs A, B and C, round 0 may sample B, A, C and round 1 may sample C, A, B. Whatever slows the
    machine for a while then slows all of them, and their ratios stay right. In an A/B run the two sides of a cell,
    A and A', are neighbours in every round, and their samples alternate: A, A', A', A, and so on.

    Args:
        group: The launch.
        restart: Prepares a program again whose worker has died.
    """

    def __init__(self, group: GroupWork, restart: Restart) -> None:
        self._group = group
        self._restart = restart
        self._launch = group.group.launch
        self._settings = group.group.settings
        self._now = group.work.facts.machine.clock.now

    def run(self, members: Sequence[GroupMember], first: int = 0) -> None:
        """As many rounds as the suite asks for, or its time allows.

        Args:
            members: What is timed.
            first: The number of the first round.
        """
        work, name = self._group.work, self._group.group.name
        budget_s = work.facts.suite.measure.budget_s
        share_s = budget_s / self._settings.launches if budget_s else math.inf
        start = self._now()
        for number in range(first, first + self._settings.rounds):
            if number - first >= LEAST_ROUNDS and self._now() - start >= share_s:
                break
            taking_part = [member for member in members if self._group.is_open(member)]
            taking_part.sort(key=lambda member: (member.cell.id, member.is_control))
            generator = stream(work.facts.suite.seed, "rounds", name, self._launch * 10_000 + number)
            for block in round_order(taking_part, generator):
                self._block(block, number, f"round {number - first + 1} of {self._settings.rounds}", generator)
            medians = tuple(
                (member.cell.id, median(found))
                for member in taking_part
                if not member.is_control and (found := member.of_round(number))
            )
            work.report(RoundFinished(name, self._launch, number, medians))

    def _block(self, block: Sequence[GroupMember], number: int, what: str, generator: Any) -> None:
        for member in block:
            with self._group.attempt(member):
                self._group.work.begin(member.cell, f"launch {self._launch + 1}: {what}")
                self._revive(member, number)
        alive = [member for member in block if self._group.is_open(member)]
        if {"base", "head"} <= {member.cell.side for member in alive}:
            self._in_turns(alive, number, generator)
            return
        for member in alive:
            with self._group.attempt(member):
                self._sample(member, number)

    def _revive(self, member: GroupMember, number: int) -> None:
        """Starts the worker again where it served another cell that took it down."""
        if member.worker.alive:
            return
        again = self._restart(member)
        if isinstance(again, Failure):
            self._group.fail(member, again)
            return
        member.worker = again.worker
        member.notes.append(f"launch {self._launch + 1}: the worker was started again in round {number + 1}")

    def _sample(self, member: GroupMember, number: int) -> None:
        """One program's round: all of its samples, one right after the other."""
        rows = self._fed(member)
        children = children_seconds(member.worker.pid)
        with self._others_idle([member]), self._group.work.watch.timing("samples"):
            start = self._now()
            reply = self._group.ask(member.spec, SampleRequest(cell=member.cell.id))
            parent_s = self._now() - start
        found = self._judged(member, number, rows)
        used_s = children_seconds(member.worker.pid) - children
        member.observations.append(reply.observed)
        member.add(self._launch, number, reply.samples_s)
        member.rounds.append(
            RoundFacts(
                used_s=found.used_s,
                again=found.again,
                elapsed_s=reply.elapsed_s,
                calls=found.calls,
                observed=reply.observed,
                parent_s=parent_s,
                idle_after_s=found.idle_after_s,
                children_s=used_s,
            )
        )

    def _fed(self, member: GroupMember) -> Rows:
        """New inputs for a round, uploaded before any clock runs."""
        rows = member.evidence.rows()
        if rows:
            self._group.ask(member.spec, FeedRequest(cell=member.cell.id, rows=rows))
        return rows

    def _judged(self, member: GroupMember, number: int, rows: Rows) -> CollectReply:
        """What a round's calls gave; a wrong result ends the cell, its control's as well: they are one program."""
        found, arrays = self._group.collect(member.spec, member.cell)
        failure = member.evidence.of(rows, found, arrays, f"launch {self._launch + 1}, round {number + 1}")
        if failure is not None:
            self._group.work.fail(member.cell, failure)
        return found

    def _in_turns(self, block: Sequence[GroupMember], number: int, generator: Any) -> None:
        """The round of a cell's two sides: a sample of each in random order, again and again.

        What slows the machine for tenths of a second hits neighbouring samples of both sides alike, and cancels in
        their ratio.
        """
        rows: dict[WorkerSpec, Rows] = {}
        for member in block:
            with self._group.attempt(member):
                rows[member.spec] = self._fed(member)
                self._group.ask(member.spec, BeginTurnsRequest(cell=member.cell.id))
        with self._others_idle(block), self._group.work.watch.timing("samples"):
            self._take_turns(block, number, generator)
        ended: list[tuple[GroupMember, EndTurnsReply]] = []
        for member in block:
            if self._group.is_open(member):
                with self._group.attempt(member):
                    ended.append((member, self._group.ask(member.spec, EndTurnsRequest(cell=member.cell.id))))
                    self._judged(member, number, rows[member.spec])
        used_s = sum(reply.used_s for _, reply in ended)
        for member, reply in ended:
            observed = reply.observed
            if observed.foreign_s is not None:  # what the other side used is nobody else's
                others_s = used_s - reply.used_s
                observed = replace(observed, foreign_s=max(0.0, observed.foreign_s - others_s))
            member.observations.append(observed)

    def _take_turns(self, block: Sequence[GroupMember], number: int, generator: Any) -> None:
        """A process that goes on spinning after its work gets more samples at a turn: waiting takes at most as long."""
        settings = self._settings
        at_a_turn, taken, start = 1, 0, self._now()
        while taken < settings.samples:
            if taken >= settings.min_samples and self._now() - start >= settings.max_round_s * len(block):
                break
            count = min(at_a_turn, settings.samples - taken)
            waits = []
            for member in _shuffled(block, generator):
                if not self._group.is_open(member):
                    continue
                with self._group.attempt(member):
                    turn = self._group.ask(member.spec, TurnRequest(cell=member.cell.id, samples=count)).turn
                    member.add(self._launch, number, turn.samples_s)
                    waits.append(turn.idle_after_s / max(turn.wall_s, 1e-9) * count)
            taken += count
            at_a_turn = max(1, math.ceil(max(waits, default=0.0)))

    @contextmanager
    def _others_idle(self, block: Sequence[GroupMember]) -> Iterator[None]:
        """Notes where workers that have nothing to do used a processor meanwhile."""
        busy = {member.spec for member in block}
        idle = idle_use([worker.pid for worker in self._group.pool.others(busy)])
        start = self._now()
        yield
        if idle() > IDLE_TICKS_S + IDLE_SHARE * (self._now() - start):
            for member in block:
                member.notes.append("idle workers used a processor during a round")


def round_order(members: Sequence[GroupMember], generator: Any) -> list[list[GroupMember]]:
    """Blocks in random order: a cell with its other side and its control, in random order too."""
    pairs: dict[str, list[GroupMember]] = {}
    for member in members:
        pairs.setdefault(member.cell.key, []).append(member)
    blocks = list(pairs.values())
    return [_shuffled(blocks[position], generator) for position in generator.permutation(len(blocks))]


def _shuffled(block: Sequence[GroupMember], generator: Any) -> list[GroupMember]:
    return [block[i] for i in generator.permutation(len(block))] if len(block) > 1 else list(block)


def idle_use(pids: Sequence[int]) -> Callable[[], float]:
    """Starts counting the processor time of processes that should be idle; the function returned ends it."""
    before = {pid: processor_seconds(pid) for pid in pids}

    def end() -> float:
        after = {pid: processor_seconds(pid) for pid in pids}
        return sum((after[pid] or 0.0) - (before[pid] or 0.0) for pid in pids if after[pid] is not None)

    return end
