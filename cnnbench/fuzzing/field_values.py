"""The ranges from which a field's integers and numbers are drawn, by the field's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cnnbench.spec.layers import Shape, Shapes


@dataclass(frozen=True)
class Operands:
    """The input shapes of a layer, on which the range of a field may depend.

    Args:
        shapes: Of the inputs, batch axis included.
        several: How many items those fields have that name some of the axes.
    """

    shapes: Shapes
    several: int = 1

    @property
    def first(self) -> Shape:
        """The first input's shape; that of one number where there is none."""
        return self.shapes[0] if self.shapes else (1,)

    @property
    def channels(self) -> int:
        """The size of axis 1."""
        return self.first[1] if len(self.first) > 1 else 1

    @property
    def last(self) -> int:
        """The size of the last axis."""
        return self.first[-1] if self.first else 1

    @property
    def rank(self) -> int:
        """Axes, the batch's included."""
        return max(len(self.first), 1)

    @property
    def spatial(self) -> Shape:
        """The sizes of the spatial axes."""
        return self.first[2:]


def divisors(number: int) -> list[int]:
    """The numbers that divide it."""
    return [n for n in range(1, max(number, 1) + 1) if max(number, 1) % n == 0]


def up_to(least: int, most: int) -> Callable[[Operands], Sequence[int]]:
    """Every integer from one to another, whatever the layer reads."""
    return lambda given: range(least, most + 1)


def _axes(given: Operands) -> Sequence[int]:
    return range(-given.rank, given.rank)


def _features(given: Operands) -> Sequence[int]:
    return [n for n in (1, 2, 3, 4, 5, 6, 8, 9, 12, given.channels, 2 * given.channels) if n <= 32]


INTEGERS: Mapping[str, Callable[[Operands], Sequence[int]]] = {
    "kernel_size": lambda given: [1, 2, 3, 3, 4, 5, *[n for n in given.spatial if n <= 9]],
    "stride": lambda given: [1, 1, 2, 2, 3, 4],
    "dilation": lambda given: [1, 1, 1, 2, 3],
    "padding": lambda given: [0, 0, 1, 1, 2, 3],
    "output_padding": up_to(0, 2),
    "groups": lambda given: divisors(given.channels),
    "out_channels": _features,
    "out_features": _features,
    "embed_dim": _features,
    "embedding_dim": _features,
    "features": lambda given: [2, 4, 6, 8],
    "hidden_size": up_to(1, 6),
    "squeeze_channels": up_to(1, 6),
    "units": up_to(1, 6),
    "multiplier": up_to(1, 3),
    "num_heads": lambda given: divisors(given.last),
    "axis": _axes,
    "axes": _axes,
    "start_axis": _axes,
    "block": up_to(1, 3),
    "patch_size": lambda given: divisors(math.gcd(*given.spatial)) if given.spatial else [1],
    "window_size": lambda given: sorted({n for size in given.first[1:3] for n in divisors(size)}),
    "shift": up_to(0, 2),
    "size": up_to(1, 9),
    "output_size": up_to(1, 6),
    "filter_size": lambda given: [1, 2, 3, 4, 5],
    "factor": up_to(1, 3),
    "repeats": up_to(1, 3),
    "shifts": up_to(-7, 7),
    "starts": up_to(-4, 4),
    "ends": up_to(-3, 9),
    "steps": lambda given: [1, 1, 2, 3, -1, -2],
    "offset": up_to(0, 3),
    "indices": lambda given: range(-given.last, given.last),
    "sizes": lambda given: [n for n in divisors(given.channels) if n < given.channels] or [1],
    "k": lambda given: range(1, min(given.last, 6) + 1),
    "p": up_to(1, 2),
    "length": up_to(1, 9),
    "divisor": up_to(1, 9),
    "sampling_ratio": up_to(0, 3),
    "ignore_index": lambda given: [-100, -1, 0, 1],
    "max_outputs": up_to(1, 9),
    "shared_axes": up_to(0, 1),
}
NUMBERS: Mapping[str, Sequence[float]] = {
    "eps": (1e-12, 1e-6, 1e-5, 1e-3, 0.1),
    "momentum": (0.0, 0.01, 0.1, 0.5, 1.0),
    "label_smoothing": (0.0, 0.1, 0.5),
    "masked": (-100.0, -30000.0),
    "exponent": (0.0, 0.5, 1.0, 2.0, 3.0, -1.0, 1.5),
    "max_period": (100.0, 10000.0),
    "cubic_coefficient": (-0.75, -0.5),
    "value": (0.0, 0.0, -1.5, 2.0),
    "spatial_scale": (1.0, 0.5, 0.25),
    "p": (0.1, 0.5, 0.9, 1.0, 2.0, 3.0),
}
PROBABILITIES = ("threshold", "iou_threshold")
