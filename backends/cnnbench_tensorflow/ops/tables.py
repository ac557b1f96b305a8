"""Fixed tables: constants of the traced program."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, Operations, OpResult
from cnnbench.spec.layers.tables import Table
from cnnbench_tensorflow.framework import tf

Values = tuple[Any, ...]


def register(operations: Operations) -> None:
    """Adds this family's ops."""
    for kind in ("sinusoid_table", "causal_mask", "shifted_window_mask", "relative_offsets"):
        operations.register(kind)(table)


def table(layer: Table, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The layer's values, rounded once to the input's type."""
    return OpResult((tf.constant(layer.values().astype(inputs[0].dtype.as_numpy_dtype)),))
