"""Layers that move values and compute nothing: flatten, pad."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.execution.operations import Call, Operations, OpResult
from cnnbench.spec.layers import Flatten, Pad
from cnnbench_tensorflow.framework import tf

Values = tuple[Any, ...]


def register(operations: Operations) -> None:
    """Adds this family's ops."""
    operations.register("flatten")(flatten)
    operations.register("pad")(pad)


def flatten(layer: Flatten, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The axes from ``start_axis`` on as one; the size is stated, since -1 is ambiguous for an empty batch."""
    shape = tuple(inputs[0].shape)
    start = layer.start_axis % len(shape)
    return OpResult((tf.reshape(inputs[0], (*shape[:start], math.prod(shape[start:]))),))


def pad(layer: Pad, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A border of the constant."""
    widths = call.per_axis(((0, 0), *layer.padding))
    return OpResult((tf.pad(inputs[0], widths, constant_values=layer.value),))
