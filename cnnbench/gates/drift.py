"""The machine's drift: how much slower it was in one run than in another, by other backends and by yardsticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from cnnbench.gates.baselines import Snapshot
from cnnbench.gates.pairs import Pair
from cnnbench.gates.rules import Rules
from cnnbench.measurement.levels import MEDIAN_VARIANCE


@dataclass(frozen=True)
class Drift:
    """How much slower the machine was in the head run.

    Args:
        value: log(head / base) of the seconds of the same work.
        voters: How many other backends it rests on.
        yardsticks: How many yardsticks it rests on.
        doubt: Why the votes cannot be believed, or None.
    """

    value: float
    voters: int
    yardsticks: int
    doubt: str | None = None


def yardstick_votes(base: Snapshot, head: Snapshot) -> list[float]:
    """log(base / head) of each yardstick: positive where the machine was slower in the head run."""
    common = sorted(base.yardsticks.keys() & head.yardsticks.keys())
    return [
        math.log(base.yardsticks[name] / head.yardsticks[name])
        for name in common
        if base.yardsticks[name] > 0 and head.yardsticks[name] > 0
    ]


def drift_for(pair: Pair, pairs: Iterable[Pair], yardsticks: list[float], rules: Rules) -> Drift:
    """The drift that is taken out of a cell's change: the median of independent votes.

    Each other backend has one vote, the median change of its cells in the same comparison group: its modes share code,
    and one update moves them all. Each yardstick has one. A backend never votes on its own drift: that would hide a
    change of all its cells.

    Args:
        pair: The cell in both runs.
        pairs: All cells that both runs have.
        yardsticks: As ``yardstick_votes`` gives them.
        rules: With the threshold beyond which votes contradict each other.
    """
    others = [other for other in pairs if other.backend != pair.backend]
    near = _votes(other for other in others if other.group == pair.group)
    votes = [*near, *yardsticks]
    if not votes:
        return Drift(0.0, 0, 0)
    doubt = _contradiction(near, _votes(others), yardsticks, rules) or _no_majority(near, yardsticks, rules)
    return Drift(median(votes), len(near), len(yardsticks), doubt)


def _votes(pairs: Iterable[Pair]) -> list[float]:
    """One vote for each backend: the median change of its cells."""
    changes: dict[str, list[float]] = {}
    for pair in pairs:
        changes.setdefault(pair.backend, []).append(pair.delta)
    return [median(values) for values in changes.values()]


def _no_majority(near: list[float], yardsticks: list[float], rules: Rules) -> str | None:
    """Why the median of the votes cannot be relied on, or None.

    Example: torch takes half the time, numpy as long as before, and no yardstick was measured. Either torch improved,
    or the machine is twice as fast and numpy regressed. So more than half of the votes must agree with their median
    up to the threshold; and a machine that no yardstick measured is not taken to have moved by more than that.
    """
    gate = rules.gates.latency
    if gate is None:
        return None
    limit, votes = math.log1p(gate.threshold), [*near, *yardsticks]
    value = median(votes)
    if _most(votes, value, limit) and (yardsticks or abs(value) <= limit):
        return None
    shown = ", ".join(f"{math.expm1(vote):+.0%}" for vote in sorted(near))
    measured = ", ".join(f"{math.expm1(vote):+.0%}" for vote in sorted(yardsticks)) or "none measured"
    return (
        f"the other backends moved by {shown} (the machine's yardsticks: {measured}): whether the machine or they "
        "changed cannot be told"
    )


def _most(votes: list[float], value: float, limit: float) -> bool:
    """Whether more than half of the votes agree with a value."""
    return 2 * sum(abs(vote - value) <= limit for vote in votes) > len(votes)


def _contradiction(near: list[float], everywhere: list[float], yardsticks: list[float], rules: Rules) -> str | None:
    """Why backends and yardsticks cannot both be believed, or None.

    Where most other backends agree, over all groups, and the yardsticks are further from them than the threshold, a
    change that is common to all backends could hide behind the drift (or the yardsticks are wrong): nothing is
    concluded. One group by itself may drift further than the rest of the run, up to twice the threshold.
    """
    gate = rules.gates.latency
    if gate is None or len(near) < 2 or not yardsticks:
        return None
    limit, known = math.log1p(gate.threshold), median(yardsticks)
    for votes, allowed in ((everywhere, limit), (near, 2 * limit)):
        shared = median(votes)
        if _most(votes, shared, limit) and abs(shared - known) > allowed:
            return (
                f"the other backends moved by {math.expm1(shared):+.0%}, the machine's yardsticks by "
                f"{math.expm1(known):+.0%}: whether the machine or every backend changed cannot be told"
            )
    return None


def drift_variance(drift: Drift, cell_variance: float, rules: Rules) -> float:
    """The variance of a drift, which is a median of votes.

    Args:
        drift: The drift.
        cell_variance: The variance of one cell's vote.
        rules: With the variation of a yardstick. Without any vote the drift may be as large as that.
    """
    if drift.voters >= 2:
        return cell_variance * MEDIAN_VARIANCE / drift.voters
    votes = drift.voters + drift.yardsticks
    uncertainty = max(cell_variance if drift.voters else 0.0, rules.yardstick_variation**2)
    return uncertainty * (MEDIAN_VARIANCE if votes > 2 else 1.0) / max(votes, 1)
