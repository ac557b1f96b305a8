"""What a layer declares of its arrays: shapes, how they start, and how they are drawn in general position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Initializer:
    """A distribution from which a weight is drawn; ``spec.weights`` draws it.

    Args:
        distribution: ``constant``, ``uniform`` (in [-scale, scale]), ``normal`` (standard deviation ``scale``),
            ``truncated_normal`` (the same, drawn anew beyond twice ``scale``), ``orthogonal`` (rows or columns, times
            ``scale``),
            ``kaiming_normal`` (std = gain / sqrt(fan)), ``kaiming_uniform`` (bound = gain sqrt(3 / fan)),
            ``fan_in_uniform`` (bound = 1 / sqrt(fan)), ``signs`` (-1 or +1 with equal probability), ``integers``
            (those in [-scale, scale]), ``factors`` (scale times a factor from 0.5 to 0.8 or from 1.15 to 1.4, whose
            mean square is 1.03), or ``signed_factors`` (the same of either sign).
        scale: The constant, the bound, the standard deviation, the gain, or what is multiplied.
        fan: What ``fan`` is for ``kaiming`` and ``fan_in``: the number of products summed into one output.
    """

    distribution: str
    scale: float = 0.0
    fan: int = 0


ZEROS = Initializer("constant", 0.0)
ONES = Initializer("constant", 1.0)
# In general position: far from the values that change nothing, and the signal keeps its size.
SCALES = Initializer("signed_factors", 1.0)
SHIFTS = Initializer("signed_factors", 0.1)
VARIANCES = Initializer("factors", 1.0)


def kernels(fan: int) -> Initializer:
    """Weights that give outputs of variance 1 for inputs of mean square 1.

    Args:
        fan: The number of products summed into one output.
    """
    return Initializer("kaiming_uniform", 1.0, fan)


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """One array of a layer: a weight, or (in ``Layer.state``) a running statistic.

    Args:
        name: Its name within the node; its full name is ``<node>.<name>``.
        shape: Canonical shape: convolution (O, I/g, *kernel), linear (O, I).
        initializer: How it starts.
        trainable: False for a fixed weight, which counts as a buffer.
        decay: Whether weight decay applies when the optimiser decays ``kernels`` only (biases and norms are exempt).
        general: How it is drawn for checks, where no array may leave values as they are (see
            ``general_initializer``); ``initializer`` itself for an array that is what it is.
    """

    name: str
    shape: Shape
    initializer: Initializer
    trainable: bool = True
    decay: bool = True
    general: Initializer | None = None

    @property
    def general_initializer(self) -> Initializer:
        """How the array is drawn in general position.

        Where the layer does not say: a constant becomes factors of it, or shifts where it is 0; an initialiser with a
        fan keeps variances; any other stands, since it is random already.
        """
        start = self.initializer
        if self.general is not None:
            return self.general
        if start.distribution == "constant":
            return Initializer("factors", start.scale) if start.scale else SHIFTS
        return kernels(start.fan) if start.fan else start

    @property
    def is_fixed(self) -> bool:
        """Whether the array is what it is: a constant of the computation, and never drawn."""
        return self.general is not None and self.general == self.initializer


class Signal(NamedTuple):
    """What is estimated of a value of a network in general position.

    Args:
        square: The mean of x^2.
        mean: The mean of x over all channels: 0 after a layer with random weights, above 0 after a rectifier.
    """

    square: float
    mean: float = 0.0


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """A random 0/1 program input of a node, drawn with probability ``keep`` of a one; full name ``<node>.<name>``."""

    name: str
    shape: Shape
    keep: float
