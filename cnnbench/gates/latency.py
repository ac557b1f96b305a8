"""The change of a cell's latency between two runs, with the machine's drift between them taken out.

Two runs lie minutes or months apart. The machine's speed moves in between by several per cent, for all cells alike;
every process of a cell has a level of its own (memory placement, thread placement); every round has noise. The model,
for cell c in launch l of a run, is on a logarithmic scale:

    location(c, l) = level(c) + drift(run, group) + launch(c, l),    change(c) = level_head(c) - level_base(c)

``drift`` finds the drift from the *other* backends' cells in the group and the machine's yardsticks, ``variation`` how
much a change varies by itself; a cell never votes on its own drift. In an A/B run base and head share their rounds,
and the drift cancels in each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from cnnbench.gates.baselines import CellSnapshot, Snapshot
from cnnbench.gates.drift import drift_for, drift_variance, yardstick_votes
from cnnbench.gates.judgement import Change
from cnnbench.gates.pairs import Pair, launch_locations, location
from cnnbench.gates.rules import Rules
from cnnbench.gates.variation import (
    change_variance,
    launch_variance,
    round_variances,
    run_variance,
    with_prior,
)
from cnnbench.measurement.levels import steadied
from cnnbench.measurement.student import degrees_of_sum


def latency_changes(base: Snapshot, pairs: Iterable[Pair], head: Snapshot, rules: Rules) -> dict[str, Change]:
    """The change of every pair of two separate runs, with the machine's drift taken out.

    Args:
        base: The baseline, with its yardsticks.
        pairs: The cells that both runs timed.
        head: The run, with its yardsticks.
        rules: The tolerances.

    Returns:
        The changes by the cell's key.
    """
    known = list(pairs)
    yardsticks = yardstick_votes(base, head)
    drifts = {pair.key: drift_for(pair, known, yardsticks, rules) for pair in known}
    launch, runs, rounds = launch_variance(known), run_variance(known, drifts), round_variances(known)
    changes = {}
    for pair in known:
        drift = drifts[pair.key]
        own = change_variance(pair, launch, runs, rounds[pair.key], rules)
        total = own.value if own is runs else own.value + drift_variance(drift, own.value, rules)
        if drift.voters < 2:
            total = own.value + drift_variance(drift, own.value, rules)
        changes[pair.key] = Change(
            estimate=pair.delta - drift.value,
            error=math.sqrt(total),
            degrees=own.degrees,
            threshold=latency_threshold(math.exp(location(pair.base)), rules),
            doubt=drift.doubt or _too_few(pair, rules),
            drift=drift.value,
        )
    return changes


def paired_latency_changes(pairs: Iterable[Pair], rules: Rules) -> dict[str, Change]:
    """The change of every pair of an A/B run, from the ratio of calls that follow each other.

    The variance between launches is moderated over the cells. A single launch shows nothing of the variation from
    process to process, so the assumed one is added. Where sampling is sequential, each change has the confidence of the
    interim analysis at which its sampling ended.

    Args:
        pairs: The cells that both sides timed.
        rules: The tolerances.

    Returns:
        The changes by the cell's key.
    """
    from cnnbench.measurement.turn_ratio import turn_spread

    known = list(pairs)
    counts = [min(len(launch_locations(side)) for side in pair.sides) for pair in known]
    spreads = steadied([turn_spread(_calls(pair.head), _calls(pair.base)) for pair in known], [p.group for p in known])
    changes = {}
    for pair, spread, launches in zip(known, spreads, counts, strict=True):
        variance, degrees = spread.error**2, spread.unit.degrees
        if launches < 2:
            assumed = 2 * rules.launch_variation**2
            degrees = degrees_of_sum((variance, degrees), (assumed, rules.prior_degrees))
            variance += assumed
        changes[pair.key] = Change(
            estimate=spread.value,
            error=math.sqrt(variance),
            degrees=degrees,
            threshold=latency_threshold(math.exp(location(pair.base)), rules),
            doubt=_too_few(pair, rules),
            confidence=rules.spending.confidence(launches, rules.gates.confidence) if rules.spending else None,
        )
    return changes


def latency_figures(pair: Pair, change: Change | None, *, paired: bool) -> tuple[float | None, float | None]:
    """The latencies of both sides, as the table of results has them.

    In an A/B run their ratio is that of the pairs of calls: each side's is what both together show, times or divided by
    the root of that ratio. Of two runs the ratio contains the machine's drift.

    Args:
        pair: The cell in both runs.
        change: Of its latency; None where it is not known.
        paired: Whether this is an A/B run.
    """
    before, after = (location(side) if side.rounds else None for side in pair.sides)
    if paired and change is not None and before is not None and after is not None:
        middle = (before + after) / 2
        before, after = middle - change.estimate / 2, middle + change.estimate / 2
    return tuple(None if value is None else math.exp(value) for value in (before, after))  # type: ignore[return-value]


def latency_threshold(base_s: float, rules: Rules) -> float:
    """What is tolerated, on the log scale: the relative threshold, or the absolute change that matters."""
    gate = rules.gates.latency
    assert gate is not None
    return math.log1p(max(gate.threshold, gate.min_change_s / base_s))


def noise_floor(pairs: Iterable[Pair], rules: Rules) -> float:
    """The relative variation from process to process that two runs show, in which unchanged cells differ."""
    return math.sqrt(with_prior(launch_variance(list(pairs)), rules).value)


def _calls(cell: CellSnapshot) -> dict[tuple[int, int], list[float]]:
    return {(item.launch, item.round): list(item.latencies_s) or [item.median_s] for item in cell.rounds}


def _too_few(pair: Pair, rules: Rules) -> str | None:
    """Why a pair has too few samples to judge, or None."""
    for side, cell in zip(("baseline", "run"), pair.sides, strict=True):
        count = sum(item.samples for item in cell.rounds)
        if count < rules.gates.min_samples:
            return f"the {side} has {count} samples, fewer than {rules.gates.min_samples}"
    return None
