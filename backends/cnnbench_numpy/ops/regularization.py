"""Reference dropout: of elements, of whole branches; a mask says which, and broadcasts."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Dropout
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


def dropout_backward(layer: Dropout, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The same mask and scale on the gradient."""
    return Gradients((gradients[0] if saved is None else gradients[0] * saved / (1 - layer.p),))


@REFERENCE.register("dropout", backward=dropout_backward)
@REFERENCE.register("stochastic_depth", backward=dropout_backward)
def dropout(layer: Dropout, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x mask / (1 - p) in training, x at inference. The mask has the layout of x."""
    x = inputs[0]
    if not call.masks:
        return OpResult((x,))
    mask = call.masks[0]
    return OpResult((x * mask / (1 - layer.p),), saved=mask)
