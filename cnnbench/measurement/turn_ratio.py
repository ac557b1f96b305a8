"""The latency ratio of two programs whose calls alternate: Huber's location of the ratios of neighbouring calls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError
from cnnbench.measurement.levels import Covers, Spread
from cnnbench.measurement.moderation import Variance
from cnnbench.measurement.statistics import Ratio, RoundSamples, checked
from cnnbench.measurement.student import degrees_of_freedom, mean_squares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[Any]

CORNER = 0.7  # of Huber's function, in robust standard deviations
MAD_TO_SIGMA = 1.4826
MOST_STEPS = 100


@dataclass(frozen=True)
class Location:
    """Huber's location of some values.

    Args:
        value: The location.
        scale: s / mean psi': so far one value with psi = 1 moves the location, times the number of values.
        influences: psi of each value, between -``CORNER`` and ``CORNER``.
    """

    value: float
    scale: float
    influences: FloatArray


def ratio_in_turns(head: RoundSamples, base: RoundSamples, *, confidence: float = 0.95) -> Ratio:
    """``turn_spread`` of two cells by themselves; its ``confidence`` is 0 where there is no interval.

    Args:
        head: Positive seconds by (launch, round), in the order in which they were taken.
        base: As ``head``.
        confidence: Of the interval.
    """
    return turn_spread(head, base).ratio(confidence)


def turn_spread(head: RoundSamples, base: RoundSamples) -> Spread:
    """Head / base from pairs of calls that follow each other.

    Example: in a round the calls are base, head, base, head, ...; the first call of each makes the first pair. A pair
    gives d = log(head's seconds / base's seconds), in which whatever slows the machine for both cancels. A call without
    a partner is left out.

    The estimate is Huber's location m of all d. It solves sum psi((d - m) / s) = 0 with psi(u) = max(-c, min(c, u)),
    c = ``CORNER`` and s the scaled median absolute deviation. Disturbed pairs move it far less than they move a mean,
    and on a quiet machine it is nearly as precise as one. With psi averaged over the pairs of each round, its standard
    error is

        error = s / mean psi' * sqrt(max(MS_launches, MS_rounds) / rounds)

    where MS_launches and MS_rounds are the mean squares of psi between launches, and between the rounds of a launch.
    The degrees of freedom are Satterthwaite's. With one launch the rounds alone count; with one round its pairs do;
    from a single pair there is no interval.

    Args:
        head: Positive seconds by (launch, round), in the order in which they were taken.
        base: As ``head``.

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
    launches = len({launch for launch, _ in keys})
    share = 1 / launches
    if len(units) == 1:
        return Spread(found.value, "nothing", Variance(0.0, math.inf), share)
    between, within = mean_squares(units)
    variance = found.scale**2 * max(between, within) / len(units)
    covers: Covers = "launches" if launches > 1 else "rounds" if len(keys) > 1 else "calls"
    return Spread(found.value, covers, Variance(variance / share, degrees_of_freedom(units)), share, rounds=len(keys))


def location(values: FloatArray) -> Location:
    """Huber's location, with the scale s held at the median absolute deviation (times ``MAD_TO_SIGMA``)."""
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
    """The mean of psi': the share of values within the corners."""
    import numpy as np

    return max(float((np.abs(scaled) < CORNER).mean()), 1 / len(scaled))


def _paired(ours: FloatArray, theirs: FloatArray) -> tuple[FloatArray, FloatArray]:
    count = min(len(ours), len(theirs))
    return ours[:count], theirs[:count]
