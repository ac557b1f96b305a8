"""The latencies of a run's cells with their intervals, steadied over all of its cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from cnnbench.harness.passes.findings import LaunchPart, Parts, Sample
from cnnbench.harness.run.record import Control, Interval, Latency, RoundRatio
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.measurement.between_runs import widened
from cnnbench.measurement.levels import Covers, Spread, latency_spread, ratio_interval, ratio_spread, steadied
from cnnbench.measurement.statistics import Estimate, Ratio, RoundSamples, grouped
from cnnbench.measurement.turn_ratio import ratio_in_turns

QUANTILES = (0.5, 0.9, 0.99)
VALUES: tuple[Callable[[Latency], float], ...] = (
    lambda latency: latency.median_s.value,
    lambda latency: latency.p90_s.value,
    lambda latency: latency.p99_s.value,
)
COVERED: Mapping[Covers, str] = {
    "rounds": "one launch: the interval says how its rounds differ, not how processes do",
    "calls": "one round: the interval says how its calls differ, not how rounds or processes do",
    "nothing": "one call: no interval",
}


@dataclass(frozen=True)
class CellFigures:
    """What timing shows of a cell: its latency, and that of its control against it."""

    latency: Latency | None = None
    control: Control | None = None


def cell_figures(
    found: Sequence[tuple[Cell, Parts]], earlier: Mapping[str, Sequence[Latency]] = MappingProxyType({})
) -> dict[str, CellFigures]:
    """The figures of timed cells, by id, with variances moderated over all that are given.

    Args:
        found: The cells that belong together (a run's), each with what passes found of it.
        earlier: By a cell's id, what earlier runs of the same work found.
    """
    cells = [(cell, parts) for cell, parts in found if parts.samples]
    groups = [cell.comparison_group for cell, _ in cells]
    rounds = [grouped(parts.samples) for _, parts in cells]
    spreads = [steadied([latency_spread(samples, q) for samples in rounds], groups) for q in QUANTILES]
    before = [earlier.get(cell.id, ()) for cell, _ in cells]
    spreads = [
        widened(spread, [[math.log(value(latency)) for latency in runs] for runs in before])
        for spread, value in zip(spreads, VALUES, strict=True)
    ]
    shifts = _agreeing({(cell.key, cell.side): samples for (cell, _), samples in zip(cells, rounds, strict=True)})
    controls = _controls(cells)
    figures = {}
    for i, (cell, parts) in enumerate(cells):
        shift = shifts.get((cell.key, cell.side), 0.0)
        own = [replace(of_quantile[i], value=of_quantile[i].value + shift) for of_quantile in spreads]
        latency = _latency(cell, parts.launches, own, len(before[i]))
        figures[cell.id] = CellFigures(latency, controls.get(cell.id))
    return figures


def _agreeing(rounds: Mapping[tuple[str, str], RoundSamples]) -> dict[tuple[str, str], float]:
    """What to add to the logarithms of the two sides of A/B cells, so that their ratio is that of the pairs of calls.

    The ratio of calls that follow each other is far more precise than that of two medians. So a side's latency is what
    both together show, times or divided by the root of that ratio: one pair of figures, of which the ratio is theirs.
    """
    shifts: dict[tuple[str, str], float] = {}
    for key, side in rounds:
        head, base = rounds[key, side], rounds.get((key, "base"))
        if side != "head" or base is None or not head.keys() & base.keys():
            continue
        apart = latency_spread(head).value - latency_spread(base).value
        wanted = math.log(ratio_in_turns(head, base).value)
        shifts[key, "head"], shifts[key, "base"] = (wanted - apart) / 2, (apart - wanted) / 2
    return shifts


def _latency(cell: Cell, launches: Sequence[LaunchPart], quantiles: Sequence[Spread], runs: int) -> Latency:
    """The latency of a cell. Args: runs: how many earlier ones are known."""
    samples = [sample for part in launches for sample in part.samples]
    middle, p90, p99 = (_interval(spread.estimate()) for spread in quantiles)
    covers = quantiles[0].covers
    calls = max(part.calls_per_sample for part in launches)
    notes = [f"each sample is the mean of up to {calls} calls"] if calls > 1 else []
    if len(samples) < 100:
        notes.append(f"p99 is extrapolated from {len(samples)} samples")
    apart = [str(part.launch + 1) for part in launches if part.apart]
    if apart:
        notes.append(f"launch {', '.join(apart)} was measured apart from its group")
    if covers == "runs":
        notes.append(f"the interval says how this run and {runs} earlier ones differ")
    elif covers in COVERED:
        notes.append(COVERED[covers])
    return Latency(
        median_s=middle,
        p90_s=p90,
        p99_s=p99,
        throughput_images_per_s=Interval(
            value=cell.batch / middle.value,
            low=cell.batch / middle.high,
            high=cell.batch / middle.low,
            confidence=middle.confidence,
        ),
        covers=covers,
        samples=len(samples),
        rounds=len({sample.round for sample in samples}),
        launches=len({sample.launch for sample in samples}),
        steady=all(part.steady for part in launches),
        note="; ".join(notes) or None,
    )


def _controls(cells: Sequence[tuple[Cell, Parts]]) -> dict[str, Control]:
    """The latency of each control over its cell's, round by round; by calls that follow each other in an A/B run."""
    timed: dict[str, tuple[RoundSamples, RoundSamples, bool, Key]] = {}
    for cell, parts in cells:
        ours, theirs = grouped(parts.samples), grouped(_control_samples(parts))
        if ours.keys() & theirs.keys():
            timed[cell.id] = (theirs, ours, cell.side == "base", cell.comparison_group)
    apart = {name: item for name, item in timed.items() if not item[2]}
    spreads = [ratio_spread(theirs, ours) for theirs, ours, _, _ in apart.values()]
    found: dict[str, Estimate | Ratio] = {
        name: spread.estimate()
        for name, spread in zip(apart, steadied(spreads, [item[3] for item in apart.values()]), strict=True)
    }
    found |= {name: ratio_in_turns(theirs, ours) for name, (theirs, ours, turns, _) in timed.items() if turns}
    return {
        name: Control(ratio=_interval(found[name]), rounds=_round_ratios(theirs, ours, in_turns))
        for name, (theirs, ours, in_turns, _) in timed.items()
    }


def _control_samples(parts: Parts) -> list[Sample]:
    return [sample for part in parts.launches for sample in part.control]


def _round_ratios(theirs: RoundSamples, ours: RoundSamples, in_turns: bool) -> tuple[RoundRatio, ...]:
    ratio = ratio_in_turns if in_turns else ratio_interval
    return tuple(
        RoundRatio(launch=key[0], round=key[1], ratio=ratio({(0, 0): theirs[key]}, {(0, 0): ours[key]}).value)
        for key in sorted(ours.keys() & theirs.keys())
    )


def _interval(estimate: Estimate | Ratio) -> Interval:
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high, confidence=estimate.confidence)
