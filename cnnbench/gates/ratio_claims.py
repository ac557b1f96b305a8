"""Claims about ratios: of latencies (to a group's fastest cell, head to base) and of peak memory to the bundled one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cnnbench.gates.evidence import Evidence
from cnnbench.gates.judgement import Change, judgement
from cnnbench.gates.rules import Rules
from cnnbench.gates.verification import Claim, Found, Grade
from cnnbench.harness.passes.findings import Sample
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Key
from cnnbench.harness.suite.gates import Gates, MemoryGate
from cnnbench.measurement.bootstrap import degrees_of_sum
from cnnbench.measurement.bridged_ratio import group_ratio
from cnnbench.measurement.statistics import Ratio, grouped
from cnnbench.measurement.turn_ratio import ratio_in_turns

HEAD_TO_BASE = "head / base"


@dataclass(frozen=True)
class _Against:
    """A ratio of two cells of one run, on a logarithmic scale."""

    ratio: Ratio
    launches: int

    def parts(self, rules: Rules) -> list[tuple[float, float]]:
        """(variance, degrees) of its logarithm; one launch shows nothing of what varies from process to process."""
        assumed = [(2 * rules.launch_variation**2, rules.prior_degrees)] if self.launches < 2 else []
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
    for members in groups.values():
        fastest = min(members, key=lambda record: record.latency.median_s.value if record.latency else math.inf)
        for record in members:
            if record is not fastest:
                others = tuple(item.cell.id for item in members if item is not record and item is not fastest)
                how = _How(f"against {fastest.cell.series}", in_turns=False, others=others)
                yield Claim.of(record, "latency", _ratio_claim(record, fastest, after, (bundled, again), rules, how))


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
    for sides in cells.values():
        if sides.keys() == {"base", "head"}:
            how = _How("against the base side", in_turns=True)
            found = _ratio_claim(sides["head"], sides["base"], after, (bundled, again), rules, how)
            yield Claim.of(sides["head"], HEAD_TO_BASE, found)


@dataclass(frozen=True)
class _How:
    """What a ratio is to, in words; whether the calls of its two cells alternated; and who may link them if not."""

    against: str
    in_turns: bool
    others: tuple[str, ...] = ()


def _ratio_claim(
    record: Record,
    reference: Record,
    after: Mapping[str, Record],
    runs: tuple[Evidence, Evidence],
    rules: Rules,
    how: _How,
) -> Found:
    names, against = (record.cell.id, reference.cell.id), how.against
    before = _against(runs[0].samples, *names, how)
    now = _against(runs[1].samples, *names, how) if all(name in after for name in names) else None
    if before is None or now is None:
        shown = before.text if before else None
        ran = all(name in after for name in names)
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


def _against(samples: Mapping[str, tuple[Sample, ...]], cell: str, reference: str, how: _How) -> _Against | None:
    own, other, *others = (grouped(samples.get(name, ())) for name in (cell, reference, *how.others))
    common = own.keys() & other.keys()
    launches = {launch for launch, _ in own} & {launch for launch, _ in other}
    if how.in_turns:
        return _Against(ratio_in_turns(own, other), len(launches)) if len(common) > 1 else None
    ratio = group_ratio(own, other, others)
    return _Against(ratio, len(launches)) if ratio is not None and ratio.pairs > 1 else None


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
