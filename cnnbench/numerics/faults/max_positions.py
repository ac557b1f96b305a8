"""Faults of the positions of maxima: within what, and in which order, they are counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer, other_outputs
from cnnbench.numerics.faults.engine.drawn import Drawn, normal, on
from cnnbench.spec.layers.max_positions import MaxPoolPositions

_IMAGE = Drawn((3, 6, 7), normal())


def _in_padded_image(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    width = inputs[0].shape[-1]
    (top, _), (left, right) = layer.padding
    row, column = outputs[0] // width, outputs[0] % width
    return ((row + top) * (width + left + right) + column + left,)


FAULTS = (
    Fault(
        "max_pool_positions.within_the_tensor",
        "max_pool_positions",
        "positions counted through the whole tensor (ONNX) where each channel counts for itself (PyTorch)",
        on(MaxPoolPositions(kernel_size=2), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, counted="tensor")),
    ),
    Fault(
        "max_pool_positions.storage_order",
        "max_pool_positions",
        "positions counted by columns (storage_order 1) where rows were asked for",
        on(MaxPoolPositions(kernel_size=2), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, order="columns")),
    ),
    Fault(
        "max_pool_positions.in_padded_image",
        "max_pool_positions",
        "positions within the image and its padding (an image padded before the pool) where those of the image belong",
        on(MaxPoolPositions(kernel_size=3, stride=2, padding=1), _IMAGE),
        operation=other_outputs(_in_padded_image),
    ),
)
