"""Claims about ratios: of latencies (to a group's fastest cell, head to base) and of peak memory to the bundled one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnbench.gates.evidence import Evidence
from cnnbench.gates.judgement import Change, judgement
from cnnbench.gates.rules import Rules
from cnnbench.gates.verification import Claim, Found, Grade
from cnnbench.harness.passes.findings import Sample
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Key
from cnnbench.harness.suite.gates import Gates, MemoryGate
from cnnbench.measurement.bridged_ratio import group_ratio
from cnnbench.measurement.levels import Spread, steadied
from cnnbench.measurement.statistics import Ratio, grouped
from cnnbench.measurement.student import degrees_of_sum
from cnnbench.measurement.turn_ratio import turn_spread

HEAD_TO_BASE = "head / base"


@dataclass(frozen=True)
class _Against:
    """A ratio of two cells of one run, on a logarithmic scale."""

    ratio: Ratio
    one_launch: bool

    def parts(self, rules: Rules) -> list[tuple[float, float]]:
        """(variance, degrees) of its logarithm; one launch shows nothing of what varies from process to process."""
        assumed = [(2 * rules.launch_variation**2, rules.prior_degrees)] if self.one_launch else []
        return [(self.ratio.log_error**2, self.ratio.degrees), *assumed]

    @property
    def text(self) -> str:
        return f"{self.ratio.value:.3g}× [{self.ratio.low:.3g}, {self.ratio.high:.3g}]"


def latency_claims(bundled: Evidence, after: Mapping[str, Record], again: Evidence, rules: Rules) -> Iterator[Claim]:
    """For every timed cell but the fastest of its comparison group: is its latency ratio to that one reproduced?

    Args:
        bundled: The run in the bundle.
        after: The records of the cells that ended well here, by id.
        again: The second run, for its samples.
        rules: The tolerances.
    """
    groups: dict[Key, list[Record]] = {}
    for record in bundled.records:
        if record.status == "ok" and record.latency and record.cell.side == "head":
            groups.setdefault(record.cell.comparison_group, []).append(record)
    asked = []
    for members in groups.values():
        fastest = min(members, key=lambda record: record.latency.median_s.value if record.latency else math.inf)
        for record in members:
            if record is not fastest:
                others = tuple(item.cell.id for item in members if item is not record and item is not fastest)
                asked.append(_Asked(record, fastest, f"against {fastest.cell.series}", in_turns=False, others=others))
    yield from _claims("latency", asked, after, (bundled, again), rules)


def side_claims(bundled: Evidence, after: Mapping[str, Record], again: Evidence, rules: Rules) -> Iterator[Claim]:
    """For every cell of an A/B run: is the latency ratio of head to base reproduced?

    Args:
        bundled: The run in the bundle.
        after: The records of the cells that ended well here, by id.
        again: The second run, for its samples.
        rules: The tolerances.
    """
    cells: dict[str, dict[str, Record]] = {}
    for record in bundled.records:
        if record.status == "ok" and record.latency:
            cells.setdefault(record.cell.key, {})[record.cell.side] = record
    asked = [
        _Asked(sides["head"], sides["base"], "against the base side", in_turns=True)
        for sides in cells.values()
        if sides.keys() == {"base", "head"}
    ]
    yield from _claims(HEAD_TO_BASE, asked, after, (bundled, again), rules)


@dataclass(frozen=True)
class _Asked:
    """A ratio that is claimed.

    Args:
        record, reference: The cells. against: the reference in words.
        in_turns: Whether their calls alternated. others: cells that may link the two if they share no round.
    """

    record: Record
    reference: Record
    against: str
    in_turns: bool
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, str]:
        """The ids of both cells."""
        return self.record.cell.id, self.reference.cell.id


def _claims(
    name: str,
    asked: Sequence[_Asked],
    after: Mapping[str, Record],
    runs: tuple[Evidence, Evidence],
    rules: Rules,
) -> Iterator[Claim]:
    before = _ratios(runs[0].samples, asked)
    now = _ratios(runs[1].samples, [item for item in asked if all(cell in after for cell in item.names)])
    for item in asked:
        found = _ratio_claim(item, after, (before.get(item.names), now.get(item.names)), rules)
        yield Claim.of(item.record, name, found)


def _ratio_claim(
    asked: _Asked, after: Mapping[str, Record], ratios: tuple[_Against | None, _Against | None], rules: Rules
) -> Found:
    (before, now), against, record = ratios, asked.against, asked.record
    if before is None or now is None:
        shown = before.text if before else None
        ran = all(name in after for name in asked.names)
        lack = "fewer than two rounds have both" if ran else "not both ended well here"
        return Found("not comparable", shown, reason=f"{against}: {lack}")
    parts = [*before.parts(rules), *now.parts(rules)]
    change = Change(
        estimate=math.log(now.ratio.value / before.ratio.value),
        error=math.sqrt(sum(variance for variance, _ in parts)),
        degrees=degrees_of_sum(*parts),
        threshold=_threshold(record, rules),
    )
    verdict, reason = judgement(change, rules, discovered=True)
    if verdict == "unchanged":
        return Found("ratio reproduced", before.text, now.text, against)
    if verdict == "inconclusive":
        return Found("not comparable", before.text, now.text, f"{against}: {reason}")
    grade, why = _broken(record, after[record.cell.id])
    return Found(grade, before.text, now.text, f"{against}: {why}" if why else against)


def _ratios(samples: Mapping[str, tuple[Sample, ...]], asked: Sequence[_Asked]) -> dict[tuple[str, str], _Against]:
    """The ratios of a run that rest on two rounds or more, with their variances moderated over all of them."""
    found: dict[tuple[str, str], Spread] = {}
    groups = []
    for item in asked:
        own, other, *others = (grouped(samples.get(name, ())) for name in (*item.names, *item.others))
        if item.in_turns:
            spread = turn_spread(own, other) if own.keys() & other.keys() else None
        else:
            spread = group_ratio(own, other, others)
        if spread is not None and spread.rounds > 1:
            found[item.names] = spread
            groups.append(item.record.cell.comparison_group)
    steady = steadied(list(found.values()), groups)
    return {
        names: _Against(spread.ratio(), one_launch=spread.covers != "launches")
        for names, spread in zip(found, steady, strict=True)
    }


def _threshold(record: Record, rules: Rules) -> float:
    """What is tolerated, on the logarithmic scale."""
    gate = rules.gates.latency or Gates().latency
    assert gate is not None
    assert record.latency is not None
    return math.log1p(max(gate.threshold, gate.min_change_s / record.latency.median_s.value))


def memory_claim(record: Record, other: Record, gate: MemoryGate) -> Found:
    """Whether a peak of memory is reproduced: that of the device's allocator where the bundle has it.

    Args:
        record: In the bundle; it has a peak.
        other: The same cell here.
        gate: What is tolerated.
    """
    assert record.memory is not None
    on_device = record.memory.device_peak_bytes
    before = record.memory.peak_bytes if on_device is None else on_device
    if other.memory is None:
        return Found("not comparable", _mebibytes(before), reason=f"not measured here: {other.reason or other.status}")
    now = other.memory.peak_bytes if on_device is None else other.memory.device_peak_bytes
    if now is None:
        reason = "the bundle has the peak of the device's allocator, which is not known here"
        return Found("not comparable", _mebibytes(before), reason=reason)
    allowed = max(gate.threshold * before, gate.min_change_bytes)
    if abs(now - before) <= allowed:
        return Found("ratio reproduced", _mebibytes(before), _mebibytes(now))
    grade, reason = _broken(record, other)
    return Found(grade, _mebibytes(before), _mebibytes(now), reason)


def _broken(record: Record, other: Record) -> tuple[Grade, str]:
    """The grade of a ratio that does not hold: with other threads it is another ratio."""
    before, now = record.cell.threads, other.cell.threads
    if before != now:
        return "not comparable", f"another number of threads ({before or 'all'} and {now or 'all'}), another ratio"
    return "not reproduced", ""


def _mebibytes(value: int) -> str:
    return f"{value / 2**20:.1f} MiB"
