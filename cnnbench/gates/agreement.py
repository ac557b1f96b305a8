"""Whether backends that trained the same network reach the same figures on the same test images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from cnnbench.errors import DataError
from cnnbench.harness.run.record import Interval, Record
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.training.metrics.kept import restored
from cnnbench.training.metrics.paired import PERMUTATION_TEST, alike, compared
from cnnbench.training.metrics.score import Score
from cnnbench.training.metrics.statistic import MeanStatistic, Statistic

LEVEL = 0.01  # of the test: backends that are alike are told apart so often at most
CONFIDENCE = 0.95  # of all the intervals of a row together
EXCHANGES = 399


@dataclass(frozen=True)
class Agreement:
    """One metric of one network, on all backends that trained it.

    Args:
        network: The cell's name or architecture. metric: Its name.
        backends: Of the training runs, each backend with its mode. missing: Of those that have no such figure.
        low, high: The places in ``backends`` of the lowest and the highest figure.
        figures: In the order of ``backends``.
        difference: The highest less the lowest; its interval holds with all other pairs' together.
        p_value: Of all being alike; NaN where a figure is not defined. test: Its name.
        images: How many there are.
        reason: Why nothing was compared, or "".
        recipe: How the way of training is called; None where the suite has one.
        group: The cells' training group.
    """

    network: str
    metric: str
    backends: tuple[str, ...]
    missing: tuple[str, ...] = ()
    figures: tuple[float, ...] = ()
    low: int = 0
    high: int = 0
    difference: Interval | None = None
    p_value: float = math.nan
    test: str = PERMUTATION_TEST
    images: int = 0
    reason: str = ""
    recipe: str | None = None
    group: Key = ()

    @property
    def subject(self) -> str:
        """The network, with its recipe."""
        return ", ".join([self.network, *([] if self.recipe is None else [self.recipe])])

    @property
    def verdict(self) -> str:
        """``agree``: the test tells none apart; ``differ``; ``undecided``: it was not made, or a backend is missing."""
        if math.isnan(self.p_value):
            return "undecided"
        if self.p_value <= LEVEL:
            return "differ"
        return "undecided" if self.missing else "agree"


def agreements(records: Sequence[Record]) -> tuple[Agreement, ...]:
    """A row for each metric of each network that two backends or more were to train from the same start.

    Args:
        records: Of a run.
    """
    groups: dict[Key, list[Record]] = {}
    for record in records:
        if record.cell.train and record.cell.side == "head" and record.status != "skipped":
            groups.setdefault(record.cell.training_group, []).append(record)
    found = []
    for group, members in groups.items():
        kept = dict(zip(_names([record.cell for record in members]), map(_statistics, members), strict=True))
        if len(kept) < 2:
            continue
        network = members[0].cell.network or members[0].cell.architecture
        names = dict.fromkeys(name for statistics in kept.values() for name in statistics)
        rows = [_agreement(network, name, {series: own.get(name) for series, own in kept.items()}) for name in names]
        found += [replace(row, recipe=members[0].cell.recipe, group=group) for row in rows]
    return tuple(found)


def _names(cells: Sequence[Cell]) -> list[str]:
    """Each backend with its mode; where one is there several times, with its device and threads."""
    series = [cell.series for cell in cells]
    places = [f"{cell.series} ({cell.device}, threads {cell.threads or 'all'})" for cell in cells]
    return [place if series.count(name) > 1 else name for name, place in zip(series, places, strict=True)]


def _statistics(record: Record) -> dict[str, Statistic | None]:
    """What a training run keeps of its test images, by metric; a classifier's accuracy from its predictions."""
    training = record.training
    if training is None:
        return {}
    found: dict[str, Statistic | None] = {}
    if training.predictions and training.targets:
        right = np.equal(training.predictions, training.targets)
        found["accuracy"] = MeanStatistic(right.astype(np.float64))
    for score in training.metrics:
        found.setdefault(score.metric, _restored(score))
    return found


def _restored(score: Score) -> Statistic | None:
    try:
        return None if score.per_image is None else restored(score.per_image)
    except DataError:
        return None


def _agreement(network: str, metric: str, statistics: Mapping[str, Statistic | None]) -> Agreement:
    known = {series: item for series, item in statistics.items() if item is not None}
    missing = tuple(series for series in statistics if series not in known)
    if len(known) < 2:
        return Agreement(network, metric, tuple(known), missing, reason="no two backends kept what images contributed")
    items = tuple(known.values())
    try:
        p_value = alike(items, exchanges=EXCHANGES)
    except DataError as error:
        return Agreement(network, metric, tuple(known), missing, reason=str(error).partition("\n")[0])
    figures = tuple(item.of(np.arange(len(item))) for item in items)
    if not all(map(math.isfinite, figures)):
        return Agreement(network, metric, tuple(known), missing, figures, reason="a figure is not defined")
    low, high = int(np.argmin(figures)), int(np.argmax(figures))
    pairs = len(list(combinations(items, 2)))
    apart = compared(items[high], items[low], exchanges=0)
    ends = apart.interval(1 - (1 - CONFIDENCE) / pairs)
    difference = Interval(value=apart.value, low=ends[0], high=ends[1], confidence=CONFIDENCE)
    return Agreement(
        network, metric, tuple(known), missing, figures, low, high, difference, p_value, images=len(items[0])
    )
