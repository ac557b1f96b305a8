"""The transposition between channels-first and channels-last that programs insert."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, LayoutChange, Operations, OpResult
from cnnbench_tensorflow.framework import tf

Values = tuple[Any, ...]


def register(operations: Operations) -> None:
    """Adds this family's op."""
    operations.register("layout_change")(layout_change)


def layout_change(layer: LayoutChange, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Moves the channel axis."""
    return OpResult((tf.transpose(inputs[0], layer.permutation(inputs[0].shape.rank)),))
