"""Positions of max pooling's maxima: cases shared by all backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.max_positions import MaxPoolPositions


def _few(generator: Any, shape: Shape) -> Any:
    """Whole numbers that repeat: the first of equals counts."""
    return generator.integers(-2, 3, shape).astype(np.float32)


_AWRY: dict[str, Any] = {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 2)}

CASES = {
    "max_pool_positions/asymmetric": LayerCase(MaxPoolPositions(**_AWRY), EVEN),
    "max_pool_positions/of_the_tensor": LayerCase(MaxPoolPositions(**_AWRY, counted="tensor"), EVEN, batch=3),
    "max_pool_positions/by_columns": LayerCase(MaxPoolPositions(**_AWRY, order="columns"), EVEN),
    "max_pool_positions/first_of_ties": LayerCase(MaxPoolPositions(kernel_size=3, stride=2), EVEN, draws=(_few,)),
    "max_pool_positions/negative_at_the_border": LayerCase(
        MaxPoolPositions(kernel_size=3, stride=1, padding=1), EVEN, shift=-50.0
    ),
    "max_pool_positions/ceil_mode": LayerCase(MaxPoolPositions(kernel_size=3, stride=2, ceil_mode=True), ((2, 8, 6),)),
    "max_pool_positions/row": LayerCase(MaxPoolPositions(kernel_size=2, counted="tensor"), ((3, *ROW[0]),)),
    "max_pool_positions/3d_columns": LayerCase(
        MaxPoolPositions(kernel_size=(2, 3, 2), stride=(1, 2, 2), order="columns", counted="tensor"), ((2, 3, 5, 4),)
    ),
}
