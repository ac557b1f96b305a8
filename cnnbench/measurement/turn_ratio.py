"""The ratio of two programs whose calls alternate: a robust location of the pairs' ratios, and how well it is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError
from cnnbench.measurement.bootstrap import degrees_of_freedom, mean_squares, student_quantile
from cnnbench.measurement.statistics import Ratio, RoundSamples, checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[Any]

CORNER = 0.7  # of Huber's function, in robust standard deviations
MAD_TO_SIGMA = 1.4826
MOST_STEPS = 100


@dataclass(frozen=True)
class Location:
    """A robust location. Args: scale: what an influence of 1 moves it by, were it alone. influences: of each value."""

    value: float
    scale: float
    influences: FloatArray


def ratio_in_turns(head: RoundSamples, base: RoundSamples, *, confidence: float = 0.95) -> Ratio:
    """Head / base from calls that follow each other: Huber's location of log(head's call / base's call).

    Calls pair by their place in a round; one without a partner is left out. With psi(u) = max(-c, min(c, u)), c =
    ``CORNER`` and s the scaled median absolute deviation, the location m solves sum psi((d - m) / s) = 0. On a machine
    that is disturbed half of the time that is far less moved than a mean, and loses little where it is quiet. Its error
    comes from the influences psi, averaged by round:

        error = s / mean psi' * sqrt(max(MS_launches, MS_rounds) / rounds)

    of the mean squares between launches and between rounds within them, with Satterthwaite's degrees of freedom. One
    launch: rounds alone. One round: pairs alone, and a single pair has no interval.

    Args:
        head: Positive seconds by (launch, round), in the order in which they were taken.
        base: As ``head``.
        confidence: Of the interval, which is Student's t on the log scale.

    Raises:
        DataError: No round has both, or a sample is not a positive number.

    Source: Huber, "Robust estimation of a location parameter" (1964); Huber, "The behavior of maximum likelihood
    estimates under nonstandard conditions" (1967), for the error.
    """
    import numpy as np

    ours, theirs = checked(head), checked(base)
    keys = sorted(ours.keys() & theirs.keys())
    if not keys:
        raise DataError("the two cells share no round", remedy="compare them unpaired")
    pairs = [np.log(a / b) for a, b in (_paired(ours[key], theirs[key]) for key in keys)]
    found = location(np.concatenate(pairs))
    ends = np.cumsum([len(values) for values in pairs])
    influences = np.split(found.influences, ends[:-1])
    if len(keys) == 1:  # one round: its pairs are the units
        units = {(0, i): float(value) for i, value in enumerate(influences[0])}
    else:
        units = {key: float(values.mean()) for key, values in zip(keys, influences, strict=True)}
    if len(units) == 1:
        value = math.exp(found.value)
        return Ratio(value, value, value, 0.0, 0.0, math.inf, 1)
    between, within = mean_squares(units)
    error = found.scale * math.sqrt(max(between, within) / len(units))
    degrees = degrees_of_freedom(units)
    reach = student_quantile((1 + confidence) / 2, degrees) * error
    low, middle, high = (math.exp(found.value + step) for step in (-reach, 0.0, reach))
    return Ratio(middle, low, high, confidence, error, degrees, len(keys))


def location(values: FloatArray) -> Location:
    """Huber's location with the scale held at the median absolute deviation."""
    import numpy as np

    centre = float(np.median(values))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(values - centre)))
    if spread == 0:  # half of them are equal
        spread = float(np.abs(values - centre).mean())
    if spread == 0:
        return Location(centre, 0.0, np.zeros_like(values))
    for _ in range(MOST_STEPS):
        scaled = (values - centre) / spread
        step = spread * float(np.clip(scaled, -CORNER, CORNER).mean()) / _slope(scaled)
        centre += step
        if abs(step) <= 1e-9 * spread:
            break
    scaled = (values - centre) / spread
    return Location(centre, spread / _slope(scaled), np.clip(scaled, -CORNER, CORNER))


def _slope(scaled: FloatArray) -> float:
    """The mean of psi': the share of values that are not cut."""
    import numpy as np

    return max(float((np.abs(scaled) < CORNER).mean()), 1 / len(scaled))


def _paired(ours: FloatArray, theirs: FloatArray) -> tuple[FloatArray, FloatArray]:
    count = min(len(ours), len(theirs))
    return ours[:count], theirs[:count]
