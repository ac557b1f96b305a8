"""How layers change the size of a signal, as far as weights in general position need it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnnbench.spec.layers.arrays import Signal

BIASED = 1.07  # the mean square of what has variance 1 once it was scaled and shifted


def rectified(x: Signal, slope: float = 0.0) -> Signal:
    """The signal after max(x, slope x), for normal values.

    With s^2 = E[x^2] - m^2, P and p the normal distribution and its density at m / s: E[max(x, 0)] = m P + s p and
    E[max(x, 0)^2] = E[x^2] P + m s p.

    Args:
        x: The signal before it.
        slope: By which negative values are multiplied.
    """
    s = math.sqrt(max(x.square - x.mean**2, 0.0)) or 1e-6
    density = math.exp(-((x.mean / s) ** 2) / 2) / math.sqrt(2 * math.pi)
    share = (1 + math.erf(x.mean / s / math.sqrt(2))) / 2
    square = x.square * share + x.mean * s * density
    mean = x.mean * share + s * density
    return Signal(square + slope**2 * (x.square - square), mean + slope * (x.mean - mean))


def bent(x: Signal, square: float, mean: float) -> Signal:
    """The signal after a smooth rectifier.

    Args:
        x: The signal before it.
        square: What the mean of x^2 becomes for standard normal values.
        mean: What their mean becomes.
    """
    return Signal(square * x.square, mean * math.sqrt(x.square))


def added(inputs: Sequence[Signal]) -> Signal:
    """The sum of independent signals."""
    mean = sum(x.mean for x in inputs)
    return Signal(sum(x.square - x.mean**2 for x in inputs) + mean**2, mean)


def normalized_by_statistics(x: Signal) -> Signal:
    """The signal after (x - mean) / sqrt(var) scale + shift with arrays in general position.

    E[scale^2] = 1.03, E[1 / var] = 1.18 and E[mean^2] = E[shift^2] = 0.01; the scale has either sign.
    """
    return Signal(1.22 * (x.square + 0.01) + 0.01)
