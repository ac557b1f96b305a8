"""Padding by ``tf.pad``, or by copies where it has no such mode."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.padding import Pad, padded_from
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("pad")
def pad(layer: Pad, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.pad``; copies by index in the modes that it lacks (edge, wrap)."""
    x = inputs[0]
    widths = call.per_axis(((0, 0), *layer.padding))
    if layer.mode == "constant":
        return OpResult((tf.pad(x, widths, constant_values=tf.constant(layer.constant, x.dtype)),))
    if layer.mode in ("reflect", "symmetric"):
        return OpResult((tf.pad(x, widths, layer.mode.upper()),))
    for axis, (begin, end) in enumerate(widths):
        if begin or end:
            x = tf.gather(x, padded_from(layer.mode, x.shape[axis], begin, end), axis=axis)
    return OpResult((x,))
