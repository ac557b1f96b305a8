"""What stands above a table of results: whether its latencies can be believed, and how narrow their intervals are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from cnnbench.harness.run.assembly import foreign_load
from cnnbench.harness.run.record import Record
from cnnbench.output import figures
from cnnbench.output.tables import DECLARED, checks_by_program, declared_of


def cautions(records: Sequence[Record]) -> tuple[str, ...]:
    """One sentence for each reason to doubt: a busy machine, one launch, no steady state, what a backend declares."""
    timed = [record.latency for record in records if record.latency is not None]
    one_launch = sum(latency.launches == 1 for latency in timed)
    unsteady = sum(not latency.steady for latency in timed)
    found = [foreign_load(records)]
    if one_launch:
        found.append(
            f"{one_launch} of {len(timed)} cells were timed in one launch: their intervals say how the rounds of one "
            "process differ, not how processes do"
        )
    if unsteady:
        found.append(f"{unsteady} of {len(timed)} cells, marked *, were not steady before sampling began")
    found.append(_declared(records))
    return tuple(sentence for sentence in found if sentence is not None)


def _declared(records: Sequence[Record]) -> str | None:
    """Which cells run kinds whose special values are declared to come out otherwise than in the reference."""
    checks = checks_by_program(records)
    found = [declared_of(checks.get(record.cell.program_key, ())) for record in records]
    marked = [kinds for kinds in found if kinds]
    if not marked:
        return None
    kinds = ", ".join(sorted({kind for item in marked for kind in item}))
    return (
        f"{len(marked)} of {len(records)} cells, marked {DECLARED}, may lose NaN, infinities or denormals, as their "
        f"backends declare of {kinds}"
    )


def precision(records: Sequence[Record]) -> str:
    """How wide the intervals of the median latencies are, and whether earlier runs widened them; "" without any.

    Half the width of an interval [low, high] is sqrt(high / low) - 1.
    """
    timed = [record.latency for record in records if record.latency is not None]
    known = [latency for latency in timed if latency.median_s.confidence]
    widths = [math.sqrt(item.median_s.high / item.median_s.low) - 1 for item in known]
    if not widths:
        return ""
    over = sum(latency.covers == "runs" for latency in known)
    where = f" ({over} of {len(known)} with what earlier runs show)" if over else " within this run"
    said = f"half of them {_within(median(widths))}, all {_within(max(widths))}"
    return f"intervals of the median latencies{where}: {said}"


def _within(width: float) -> str:
    """A width in words: "within ±6.5 %", and beyond 100 % "within a factor of 12"."""
    return f"within ±{figures.percent(width)}" if width <= 1 else f"within a factor of {1 + width:.3g}"
