"""Reference fixed tables."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.tables import Table
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


def table_backward(layer: Table, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """None: the input's values are not looked at."""
    return Gradients((None,))


@REFERENCE.register("sinusoid_table", backward=table_backward)
@REFERENCE.register("causal_mask", backward=table_backward)
@REFERENCE.register("constant_table", backward=table_backward)
@REFERENCE.register("shifted_window_mask", backward=table_backward)
@REFERENCE.register("relative_offsets", backward=table_backward)
def table(layer: Table, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The layer's values in the input's type."""
    return OpResult((layer.values().astype(inputs[0].dtype),))
