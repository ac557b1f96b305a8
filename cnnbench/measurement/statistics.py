"""Estimates with their confidence intervals, the power of comparisons, and the rate of false discoveries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cnnbench.errors import DataError
from cnnbench.measurement.student import student_quantile, student_tail

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
