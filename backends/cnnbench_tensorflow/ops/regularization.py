"""Regularisation by noise: dropout of elements or branches."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Dropout
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("dropout")
@OPERATIONS.register("stochastic_depth")
def dropout(layer: Dropout, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """x mask / (1 - p) in training, x in inference. The mask has the layout of x, and broadcasts."""
    x = inputs[0]
    if not call.masks:
        return OpResult((x,))
    return OpResult((x * call.masks[0] / (1.0 - layer.p),))
