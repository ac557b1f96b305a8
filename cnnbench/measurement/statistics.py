"""Confidence intervals of latency quantiles and ratios over launches and rounds, and the power of comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cnnbench.errors import DataError
from cnnbench.measurement.bootstrap import (
    Spread,
    quantile_of,
    quantile_spread,
    round_spread,
    student_quantile,
    student_tail,
    wider,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[Any]

RoundSamples = Mapping[tuple[int, int], Sequence[float]]
"""(launch, round) -> the timed calls of that round, in seconds."""


class TimedSample(Protocol):
    """A timed call with its place, as a line of ``samples.jsonl`` has it."""

    @property
    def launch(self) -> int: ...
    @property
    def round(self) -> int: ...
    @property
    def latency_s(self) -> float: ...


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval.

    A ``confidence`` of 0 says that there is no interval: a single launch, round or call shows no variation.
    """

    value: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Ratio(Estimate):
    """An estimated ratio head / base.

    Args:
        log_error: Standard error of log(ratio). degrees: its degrees of freedom.
        pairs: The number of paired rounds; of two runs that share none, the smaller number of rounds.
    """

    log_error: float
    degrees: float
    pairs: int

    def p_above(self, limit: float) -> float:
        """One-sided p value of "the ratio is at most ``limit``": small where the ratio is above it beyond doubt."""
        return self._p(math.log(self.value) - math.log(limit))

    def p_below(self, limit: float) -> float:
        """One-sided p value of "the ratio is at least ``limit``"."""
        return self._p(math.log(limit) - math.log(self.value))

    def _p(self, distance: float) -> float:
        if self.confidence == 0:
            return 1.0
        if self.log_error == 0:
            return 0.0 if distance > 0 else 1.0
        return student_tail(distance / self.log_error, self.degrees)

    def smallest_detectable_change(self, *, power: float = 0.8, alpha: float = 0.05) -> float:
        """The relative change that a comparison with this spread finds with probability ``power``.

        exp((t_{1 - alpha/2} + t_power) * log_error) - 1; infinite where there is no interval.
        """
        if self.confidence == 0:
            return math.inf
        reach = student_quantile(1 - alpha / 2, self.degrees) + student_quantile(power, self.degrees)
        return math.expm1(min(reach * self.log_error, 700.0))


def grouped(calls: Iterable[TimedSample]) -> dict[tuple[int, int], list[float]]:
    """Timed calls by (launch, round), in their order."""
    rounds: dict[tuple[int, int], list[float]] = {}
    for call in calls:
        rounds.setdefault((call.launch, call.round), []).append(call.latency_s)
    return rounds


def quantile_interval(
    samples: RoundSamples, q: float = 0.5, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """The ``q`` quantile of all calls, with a bootstrap interval.

    A replicate draws launches with replacement, then rounds within each of them. It draws one launch fewer than there
    are; otherwise the variance of a few launches comes out too small (Rao and Wu 1988). The calls of a round stay
    together, because whatever disturbed the round disturbed them all. The percentile interval of the replicates is
    widened by t / z, with Satterthwaite's degrees of freedom, because two launches tell little of how launches vary.
    With one launch rounds alone are drawn; with one round, its calls.

    Args:
        samples: Positive seconds by (launch, round). Sizes may differ.
        q: 0.5 for the median, 0.9, 0.99.
        confidence: Of the interval.
        resamples: Replicates of the bootstrap.
        seed: Of the bootstrap, which is deterministic.

    Raises:
        DataError: There are no samples, or one is not a positive number.
    """
    spread = quantile_spread(checked(samples), q, resamples, seed)
    return _estimate(spread, confidence)


def ratio_interval(
    head: RoundSamples, base: RoundSamples, *, q: float = 0.5, confidence: float = 0.95, seed: int = 0
) -> Ratio:
    """Head / base from rounds that both ran in: the median over rounds of log(head's quantile / base's quantile).

    Rounds pair by (launch, round), so whatever slows a whole round cancels. The interval is made as that of
    ``quantile_interval``. Where the calls of the two alternate, ``turn_ratio.ratio_in_turns`` is more precise.

    Args:
        head: Positive seconds by (launch, round).
        base: As ``head``.
        q: The quantile that is taken of each round: 0.5 for its median.
        confidence: Of the interval.
        seed: Of the bootstrap.

    Raises:
        DataError: No round has both, or a sample is not positive.
    """
    ours, theirs = checked(head), checked(base)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise DataError("the two cells share no round", remedy="compare them unpaired")
    differences = {key: math.log(quantile_of(ours[key], q) / quantile_of(theirs[key], q)) for key in common}
    return _ratio(round_spread(differences, 2000, seed), confidence, len(common))


def unpaired_ratio_interval(
    head: RoundSamples, base: RoundSamples, *, q: float = 0.5, confidence: float = 0.95, seed: int = 0
) -> Ratio:
    """Head / base of two separate runs.

    Each is resampled by itself. The interval is wider than that of a paired ratio, and nothing takes out the machine's
    drift between the two.

    Args:
        head: Positive seconds by (launch, round).
        base: As ``head``.
        q: The quantile of all calls: 0.5 for the median.
        confidence: Of the interval.
        seed: Of the bootstrap.

    Raises:
        DataError: A side has no samples, or one is not positive.
    """
    ours = quantile_spread(checked(head), q, 2000, seed)
    theirs = quantile_spread(checked(base), q, 2000, seed + 1)
    return _ratio(ours.less(theirs), confidence, min(len(head), len(base)))


def benjamini_hochberg(p_values: Sequence[float], rate: float = 0.05) -> list[bool]:
    """Which hypotheses are rejected, so that at most a share ``rate`` of the rejected ones is expected to be true.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate" (1995).
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda i: p_values[i])
    last = max((rank for rank, i in enumerate(order, 1) if p_values[i] <= rate * rank / count), default=0)
    rejected = set(order[:last])
    return [i in rejected for i in range(count)]


def checked(samples: RoundSamples) -> dict[tuple[int, int], FloatArray]:
    """The samples as arrays, without empty rounds. Raises DataError where there are none, or one is not positive."""
    import numpy as np

    arrays = {key: np.asarray(values, float) for key, values in samples.items() if len(values)}
    if not arrays:
        raise DataError("there are no samples")
    for key, values in arrays.items():
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise DataError(
                "a sample is not a positive number",
                where=f"launch {key[0]}, round {key[1]}",
                received=float(values[~(np.isfinite(values) & (values > 0))][0]),
            )
    return arrays


def _estimate(spread: Spread, confidence: float) -> Estimate:
    low, high = wider(spread, confidence)
    kept = confidence if spread.draws is not None else 0.0
    return Estimate(math.exp(spread.value), math.exp(low), math.exp(high), kept)


def _ratio(spread: Spread, confidence: float, pairs: int) -> Ratio:
    plain = _estimate(spread, confidence)
    return Ratio(plain.value, plain.low, plain.high, plain.confidence, spread.error, spread.degrees, pairs)
