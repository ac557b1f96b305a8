"""Fixed tables: constants of the traced program."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.tables import Table
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("sinusoid_table")
@OPERATIONS.register("causal_mask")
@OPERATIONS.register("constant_table")
@OPERATIONS.register("shifted_window_mask")
@OPERATIONS.register("relative_offsets")
def table(layer: Table, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The layer's values, rounded once to the input's type."""
    return OpResult((tf.constant(layer.values().astype(inputs[0].dtype.as_numpy_dtype)),))
