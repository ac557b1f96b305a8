"""Two runs side by side, or the cells of one: what differs in settings first, then ratios with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnbench.gates.baselines import CellSnapshot, Snapshot
from cnnbench.gates.evidence import Evidence
from cnnbench.gates.rules import Rules
from cnnbench.gates.verdicts import GateResult, gate
from cnnbench.harness.run.record import Interval, Record
from cnnbench.harness.suite.cell import Key
from cnnbench.measurement.bridged_ratio import group_ratio
from cnnbench.measurement.levels import Spread, steadied
from cnnbench.measurement.statistics import grouped
from cnnbench.spec.frozen import Frozen

VOLATILE = ("load_average", "yardsticks")


class Difference(Frozen):
    """A setting that differs between two runs."""

    where: str
    name: str
    base: str
    head: str


class RunComparison(Frozen):
    """Two runs: the settings in which they differ, then every figure as a gate would see it."""

    base_run: str
    head_run: str
    differences: tuple[Difference, ...]
    result: GateResult


class Relative(Frozen):
    """A cell's latency against its comparison group's fastest: from paired rounds, or through the group's anchor.

    Args:
        group: How the group is called.
        subject: The cell's id. series: its backend with its mode.
        reference: The fastest cell's id, which is the group's own. fastest: its backend with its mode.
        rounds: How many rounds the ratio rests on.
    """

    group: str
    subject: str
    series: str
    reference: str
    fastest: str
    ratio: Interval
    rounds: int


def compare(base: Snapshot, head: Snapshot, rules: Rules | None = None) -> RunComparison:
    """Head against base. Settings that differ come first: they may explain what follows.

    Args:
        base: The run to compare with.
        head: The run to judge.
        rules: The tolerances, as a gate would have them; those of a suite without a ``gates`` section unless given.
    """
    return RunComparison(
        base_run=base.run_id,
        head_run=head.run_id,
        differences=tuple(differences(base, head)),
        result=gate(head, base, rules),
    )


def side_differences(run: Snapshot) -> tuple[Difference, ...]:
    """What differs between the two sides of an A/B run: their interpreters, then versions and settings of cells.

    What only one interpreter reports, because the other's cnnbench is older, is no difference.
    """
    sides = run.environment.get("sides") or {}
    base, head = (sides.get(name) or {} for name in ("base", "head"))
    common = [name for name in head if base.get(name) and head[name]]
    found = _differing("interpreter", {name: base[name] for name in common}, {name: head[name] for name in common})
    return (*found, *differences(run.side("base"), run.side("head")))


def differences(base: Snapshot, head: Snapshot) -> Iterator[Difference]:
    """What differs: the machine and its software, then the settings and versions of cells that both have."""
    yield from _differing("environment", base.environment, head.environment)
    before = {cell.cell.key: cell for cell in base.cells}
    distinct: dict[tuple[str, str, str, str], Difference] = {}
    for cell in head.cells:
        other = before.get(cell.cell.key)
        if other is None:
            continue
        for found in _cell_differences(other, cell):  # many cells of a backend have the same difference
            distinct.setdefault((found.where, found.name, found.base, found.head), found)
    yield from distinct.values()


def _cell_differences(base: CellSnapshot, head: CellSnapshot) -> Iterator[Difference]:
    yield from _differing(f"{head.cell.series}: version", base.versions, head.versions)
    yield from _differing(f"{head.cell.series}: setting", base.settings, head.settings)
    if base.digests and head.digests:
        yield from _differing(f"{head.cell.id}: digest", base.digests.model_dump(), head.digests.model_dump())


def _differing(where: str, base: Mapping[str, Any], head: Mapping[str, Any], prefix: str = "") -> Iterator[Difference]:
    for name in sorted(base.keys() | head.keys()):
        if name in VOLATILE:
            continue
        before, after = base.get(name), head.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differing(where, before, after, f"{prefix}{name}.")
        elif before != after:
            yield Difference(where=where, name=prefix + name, base=_shown(before), head=_shown(after))


def _shown(value: object) -> str:
    return "—" if value is None else str(value)


def relative(run: Evidence) -> tuple[Relative, ...]:
    """Every timed cell against the fastest of its group, with the interval of the ratio from paired rounds.

    Where the group was timed in parts, the ratio goes through the anchor that every part holds.
    """
    groups: dict[Key, list[Record]] = {}
    for record in run.records:
        if record.latency is not None and record.cell.side == "head" and run.samples.get(record.cell.id):
            groups.setdefault(record.cell.comparison_group, []).append(record)
    found: list[tuple[Record, Record, Spread]] = []
    for records in groups.values():
        ordered = sorted(records, key=_median)
        rounds = {record.cell.id: grouped(run.samples[record.cell.id]) for record in ordered}
        fastest = ordered[0]
        for record in ordered:
            others = [rounds[item.cell.id] for item in records if item is not record and item is not fastest]
            ratio = group_ratio(rounds[record.cell.id], rounds[fastest.cell.id], others)
            if ratio is not None:
                found.append((record, fastest, ratio))
    apart = [item for item in found if item[0] is not item[1]]  # the ratio of a cell to itself varies by nothing
    steady = steadied([spread for *_, spread in apart], [record.cell.comparison_group for record, *_ in apart])
    ratios = {record.cell.id: spread for (record, *_), spread in zip(apart, steady, strict=True)}
    return tuple(_relative(record, fastest, ratios.get(record.cell.id, spread)) for record, fastest, spread in found)


def _relative(record: Record, fastest: Record, spread: Spread) -> Relative:
    ratio = spread.estimate()
    return Relative(
        group=record.cell.group,
        subject=record.cell.id,
        series=record.cell.series,
        reference=fastest.cell.id,
        fastest=fastest.cell.series,
        ratio=Interval(value=ratio.value, low=ratio.low, high=ratio.high, confidence=ratio.confidence),
        rounds=spread.rounds,
    )


def _median(record: Record) -> float:
    assert record.latency is not None
    return record.latency.median_s.value
