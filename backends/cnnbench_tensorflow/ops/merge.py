"""Layers that join several values: add, concatenate."""

from __future__ import annotations

from functools import reduce
from typing import Any

from cnnbench.execution.operations import Call, Operations, OpResult
from cnnbench.spec.layers import Add, Concat
from cnnbench_tensorflow.framework import tf

Values = tuple[Any, ...]


def register(operations: Operations) -> None:
    """Adds this family's ops."""
    operations.register("add")(add)
    operations.register("concat")(concat)


def add(layer: Add, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The sum from left to right."""
    return OpResult((reduce(tf.add, inputs),))


def concat(layer: Concat, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The values joined along the axis."""
    return OpResult((tf.concat(inputs, call.axis(layer.axis, inputs[0].shape.rank)),))
