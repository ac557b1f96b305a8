"""Dropout."""

from __future__ import annotations

from cnnbench.execution.operations import Gradients, OpResult
from cnnbench_indexed.ops.registry import OPERATIONS


def _factor(layer, call):
    return call.masks[0] / (1 - layer.p) if call.training and call.masks else None


def dropout_gradient(layer, saved, gradients, weights, call):
    """The same factor."""
    factor = _factor(layer, call)
    return Gradients((gradients[0] if factor is None else gradients[0] * factor,))


@OPERATIONS.register("dropout", backward=dropout_gradient)
def dropout(layer, inputs, weights, state, call):
    """x mask / (1 - p) in training."""
    factor = _factor(layer, call)
    return OpResult((inputs[0] if factor is None else inputs[0] * factor,))
