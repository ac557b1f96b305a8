"""After how many batches a program that is slow to start but fast to run has overtaken its neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Key


@dataclass(frozen=True)
class BreakEven:
    """One program against the one of its comparison group that gives its first result soonest.

    Args:
        record: The program. first: the one that starts soonest.
        start_s, batch_s: Seconds from a fresh process to the steady state's first batch, and of each batch.
        batches: From so many on it has taken less time in all; 0 for ``first`` itself, None where it never does.
        decided: Whether the intervals of the two latencies lie apart; where they overlap, either may be the faster.
    """

    record: Record
    first: Record
    start_s: float
    batch_s: float
    batches: int | None
    decided: bool = True


def start_seconds(record: Record) -> float | None:
    """Import, build, weights, and the longer of the compile step and what the first call takes beyond a steady one.

    ``compile_s`` of a program without a compile step of its own is that part of its first call already.
    """
    phases = record.phases
    known = (phases.import_s, phases.build_s, phases.weights_s)
    if record.latency is None or phases.first_call_s is None or any(value is None for value in known):
        return None
    beyond = max(0.0, phases.first_call_s - record.latency.median_s.value)
    return sum(value for value in known if value is not None) + max(phases.compile_s or 0.0, beyond)


def break_even(records: Sequence[Record]) -> list[BreakEven]:
    """Every timed program of each comparison group that has two or more, in the order of its first result.

    ``batches`` is the least n with start + n batch < start' + n batch', the dashed values being those of the program
    that starts first.
    """
    groups: dict[Key, list[tuple[float, float, Record]]] = {}
    for record in records:
        start_s = start_seconds(record)
        if start_s is not None and record.latency is not None and record.cell.side == "head":
            groups.setdefault(record.cell.comparison_group, []).append((start_s, record.latency.median_s.value, record))
    found = []
    for members in groups.values():
        if len(members) < 2:
            continue
        members.sort(key=lambda member: (member[0] + member[1], member[2].cell.id))
        first_start, first_batch, first = members[0]
        for start_s, batch_s, record in members:
            batches: int | None
            if record is first:
                batches = 0
            elif batch_s >= first_batch:
                batches = None
            else:
                batches = math.floor((start_s - first_start) / (first_batch - batch_s)) + 1
            found.append(BreakEven(record, first, start_s, batch_s, batches, record is first or _apart(record, first)))
    return found


def _apart(one: Record, other: Record) -> bool:
    """Whether the intervals of two median latencies are known and do not overlap."""
    assert one.latency is not None
    assert other.latency is not None
    a, b = one.latency.median_s, other.latency.median_s
    return bool(a.confidence and b.confidence) and (a.high < b.low or b.high < a.low)
