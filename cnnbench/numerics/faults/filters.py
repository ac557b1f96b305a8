"""Faults of fixed filters: offsets and flipped kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.numerics.faults.engine.base import Fault, other_layer, swapped_padding
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.composites.filters import BlurPool, FixedFilter

_IMAGE = SuspectNetwork((3, 6, 8))


def _reversed_kernel(layer: Any) -> Any:
    return replace(layer, weights_row_major=layer.weights_row_major[::-1])


FAULTS = (
    Fault(
        "blur_pool.offset",
        "pad",
        "the larger half of an even kernel's padding at the beginning: the image moves by a pixel",
        surrounded(BlurPool(filter_size=4), _IMAGE),
        node="suspect.pad",
        operation=swapped_padding,
    ),
    Fault(
        "fixed_filter.flipped",
        "constant_filter",
        "true convolution for cross-correlation (SciPy, MATLAB flip kernels): an edge changes its sign",
        surrounded(FixedFilter(filter="sobel_x"), _IMAGE),
        node="suspect.filter",
        operation=other_layer(_reversed_kernel),
    ),
)
