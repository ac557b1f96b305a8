"""The transposition between channels-first and channels-last that programs insert."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.operations import Call, OpResult
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("layout_change")
def layout_change(layer: LayoutChange, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Moves the channel axis."""
    return OpResult((tf.transpose(inputs[0], layer.permutation(inputs[0].shape.rank)),))
