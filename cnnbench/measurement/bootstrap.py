"""The resampling behind the intervals: launches, then rounds, on the logarithm of what is estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[Any]

ROUND_DRAWS = 2
CHUNK_ELEMENTS = 4_000_000  # of the (resamples, calls) matrix at a time: 32 MB


@dataclass(frozen=True)
class Spread:
    """A log estimate and how it varies.

    Args:
        value: The logarithm of the estimate. draws: its bootstrap replicates; None where there is one unit only.
        degrees: Degrees of freedom behind the variance (Satterthwaite).
    """

    value: float
    draws: FloatArray | None
    degrees: float

    @property
    def error(self) -> float:
        """The standard error: the replicates' standard deviation."""
        return 0.0 if self.draws is None else float(self.draws.std(ddof=1))

    def less(self, other: Spread) -> Spread:
        """The spread of the difference of two independent estimates (Welch's degrees of freedom)."""
        draws = None if self.draws is None or other.draws is None else self.draws - other.draws
        degrees = degrees_of_sum((self.error**2, self.degrees), (other.error**2, other.degrees))
        return Spread(self.value - other.value, draws, degrees)


def wider(spread: Spread, confidence: float) -> tuple[float, float]:
    """The percentile interval of the replicates with its distances from the estimate scaled by t / z."""
    import numpy as np

    if spread.draws is None:
        return spread.value, spread.value
    tail = (1 - confidence) / 2
    low, high = np.quantile(spread.draws, [tail, 1 - tail]) - spread.value
    factor = student_quantile(1 - tail, spread.degrees) / student_quantile(1 - tail, math.inf)
    return spread.value + min(float(low) * factor, 0.0), spread.value + max(float(high) * factor, 0.0)


def quantile_of(values: FloatArray, q: float) -> float:
    """The ``q`` quantile with linear interpolation."""
    import numpy as np

    return float(np.quantile(values, q))


def quantile_spread(samples: Mapping[tuple[int, int], FloatArray], q: float, resamples: int, seed: int) -> Spread:
    """The log of the quantile of all calls, and its bootstrap replicates.

    Args:
        samples: Positive seconds by (launch, round).
        q: The quantile, 0.5 for the median.
        resamples: How many replicates.
        seed: Of the draws.
    """
    import numpy as np

    keys = sorted(samples)
    if len(keys) == 1:  # one round: the calls themselves are the units
        keys = [(0, i) for i in range(len(samples[keys[0]]))]
        samples = {key: next(iter(samples.values()))[key[1] : key[1] + 1] for key in keys}
    values = np.concatenate([samples[key] for key in keys])
    owner = np.repeat(np.arange(len(keys)), [len(samples[key]) for key in keys])
    order = np.argsort(values, kind="stable")
    values, owner = values[order], owner[order]
    value = math.log(quantile_of(values, q))
    if len(keys) == 1:
        return Spread(value, None, math.inf)
    counts = draw_counts(keys, stream(seed, "bootstrap", f"quantile {q}"), resamples)
    logs = {key: math.log(quantile_of(samples[key], q)) for key in keys}
    return Spread(value, np.log(_weighted_quantiles(values, owner, counts, q)), degrees_of_freedom(logs))


def round_spread(rounds: Mapping[tuple[int, int], float], resamples: int, seed: int) -> Spread:
    """The median over rounds of one number a round, and its bootstrap replicates.

    Args:
        rounds: The number of each (launch, round), on a logarithmic scale.
        resamples: How many replicates.
        seed: Of the draws.
    """
    import numpy as np

    keys = sorted(rounds)
    values = np.array([rounds[key] for key in keys])
    value = float(np.median(values))
    if len(keys) == 1:
        return Spread(value, None, math.inf)
    counts = draw_counts(keys, stream(seed, "bootstrap", "rounds"), resamples)
    order = np.argsort(values, kind="stable")
    return Spread(value, _weighted_quantiles(values[order], order, counts, 0.5), degrees_of_freedom(rounds))


def draw_counts(keys: list[tuple[int, int]], generator: np.random.Generator, resamples: int) -> NDArray[np.int64]:
    """How often each (launch, round) occurs in each replicate.

    Launches are drawn with replacement, one fewer than there are. In each drawn launch ``ROUND_DRAWS`` times as many
    rounds are drawn as it has: launches already vary because their rounds do, and drawing as many rounds as there are
    would count that variation twice. With a single launch, one round fewer than it has is drawn.

    Args:
        keys: The (launch, round) that there are, sorted.
        generator: Of the draws.
        resamples: How many replicates.

    Returns:
        Counts of shape (resamples, len(keys)).
    """
    import numpy as np

    launches = sorted({launch for launch, _ in keys})
    sizes = np.array([sum(key[0] == launch for key in keys) for launch in launches])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    alone = len(launches) == 1
    times = 1 if alone else ROUND_DRAWS
    counts = np.zeros((resamples, len(keys)), np.int64)
    rows = np.arange(resamples)[:, None]
    for _ in range(max(1, len(launches) - 1)):
        chosen = generator.integers(0, len(launches), resamples)
        size = sizes[chosen][:, None]
        picks = (generator.random((resamples, int(sizes.max()) * times)) * size).astype(np.int64)
        wanted = np.arange(picks.shape[1])[None, :] < np.maximum(size * times - alone, 1)
        np.add.at(counts, (np.broadcast_to(rows, picks.shape), starts[chosen][:, None] + picks), wanted)
    return counts


def _weighted_quantiles(values: FloatArray, owner: NDArray[Any], counts: NDArray[Any], q: float) -> FloatArray:
    """The ``q`` quantile of ``values`` (ascending) repeated ``counts[b, owner]`` times, for each replicate b."""
    import numpy as np

    results = np.empty(len(counts))
    step = max(1, CHUNK_ELEMENTS // len(values))
    for start in range(0, len(counts), step):
        block = np.cumsum(counts[start : start + step][:, owner], axis=1)
        position = (block[:, -1] - 1) * q
        below = np.floor(position).astype(np.int64)
        above = np.ceil(position).astype(np.int64)
        first = values[(block <= below[:, None]).sum(axis=1)]
        second = values[(block <= above[:, None]).sum(axis=1)]
        results[start : start + step] = first + (second - first) * (position - below)
    return results


def degrees_of_freedom(rounds: Mapping[tuple[int, int], float]) -> float:
    """Satterthwaite's degrees of freedom of the mean over launches and rounds of one number a round.

    With the between-launch component a = max(0, (MSB - MSW) / r) / n and the within-launch one b = MSW / (n r):
    (a + b)^2 / (a^2 / (n - 1) + b^2 / (n (r - 1))). Launches that do not differ leave the rounds' degrees.
    """
    n, total = len({launch for launch, _ in rounds}), len(rounds)
    if n == 1:
        return max(1.0, total - 1.0)
    if total == n:
        return n - 1.0
    between, within = mean_squares(rounds)
    a = max(0.0, between - within) / total
    b = within / total
    if a + b == 0:
        return float(total - 1)
    return (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (total - n))


def degrees_of_sum(*parts: tuple[float, float]) -> float:
    """Welch's and Satterthwaite's degrees of freedom of a sum of (variance, degrees): (sum v)^2 / sum (v^2 / d)."""
    total = sum(variance for variance, _ in parts)
    spent = sum(variance**2 / degrees for variance, degrees in parts)
    return total**2 / spent if spent else math.inf


def mean_squares(rounds: Mapping[tuple[int, int], float]) -> tuple[float, float]:
    """(between launches, between the rounds of a launch) of one number a round, as an analysis of variance has them.

    Both are estimates of one variance where launches do not differ. Where one of them has nothing to rest on (one
    launch, one round each) it is 0.
    """
    import numpy as np

    launches = sorted({launch for launch, _ in rounds})
    groups = [np.array([value for key, value in rounds.items() if key[0] == launch]) for launch in launches]
    n, total = len(groups), len(rounds)
    inside = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    within = inside / (total - n) if total > n else 0.0
    between = total / n * float(np.var([group.mean() for group in groups], ddof=1)) if n > 1 else 0.0
    return between, within


def student_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t; the normal's at infinite degrees."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if math.isinf(degrees) else stdtrit(degrees, probability))


def student_tail(t: float, degrees: float) -> float:
    """P(T > t)."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(-t) if math.isinf(degrees) else stdtr(degrees, -t))
