"""Faults of layers that give values another shape: orders of axes, repeats, edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.operations import Call, Gradients, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers import Flatten
from cnnbench.spec.layers.shape import Reshape, Tile, Transpose

_IMAGE = SuspectNetwork((4, 6, 8))


def _channels_last_order(right: Operation, table: Operations) -> Operation:
    """The channel axis moved to the end before values get their new shape."""
    change, last = table["layout_change"], LayoutChange(to="channels_last")

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        moved = change.forward(last, inputs, (), (), call)
        result = right.forward(layer, moved.outputs, weights, state, call)
        return result._replace(saved=(result.saved, moved.saved))

    if right.backward is None or change.backward is None:
        return Operation(forward, None, right.weight_layout)
    inner_backward, change_backward = right.backward, change.backward

    def backward(layer: Any, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
        inner = inner_backward(layer, saved[0], gradients, weights, call).inputs
        return change_backward(last, saved[1], inner, (), call)

    return Operation(forward, backward, right.weight_layout)


FAULTS = (
    Fault(
        "flatten.channels_last_order",
        "flatten",
        "values put in a row channels-last, so that the linear layer after it meets others (Keras networks ported)",
        surrounded(Flatten(), SuspectNetwork((4, 3, 3))),
        operation=_channels_last_order,
    ),
    Fault(
        "reshape.channels_last_order",
        "reshape",
        "values given another shape in channels-last order (TensorFlow networks ported)",
        surrounded(Reshape(shape=(8, 4, 6)), _IMAGE),
        operation=_channels_last_order,
    ),
    Fault(
        "transpose.inverse",
        "transpose",
        "the permutation read as where axes go and not as where they come from",
        surrounded(Transpose(permutation=(0, 2, 3, 1)), SuspectNetwork((5, 5, 5))),
        operation=other_layer(
            lambda layer: replace(
                layer, permutation=tuple(layer.permutation.index(i) for i in range(len(layer.permutation)))
            )
        ),
    ),
    Fault(
        "tile.doubled",
        "tile",
        "repeats given as (width, height): another shape",
        surrounded(Tile(repeats=(1, 2, 3)), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, repeats=(layer.repeats[0], *layer.repeats[:0:-1]))),
    ),
)
