"""Regularisation by noise: dropout."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, Operations, OpResult
from cnnbench.spec.layers import Dropout

Values = tuple[Any, ...]


def register(operations: Operations) -> None:
    """Adds this family's op."""
    operations.register("dropout")(dropout)


def dropout(layer: Dropout, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """x mask / (1 - p) in training, x in inference. The mask arrives in the layout of x."""
    x = inputs[0]
    if not call.masks:
        return OpResult((x,))
    return OpResult((x * call.masks[0] / (1.0 - layer.p),))
