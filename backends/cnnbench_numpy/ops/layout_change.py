"""The layout change that a program inserts between channels-first and channels-last ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


def layout_change_backward(
    layer: LayoutChange, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """The axes put back."""
    order = np.argsort(layer.permutation(gradients[0].ndim))
    return Gradients((np.ascontiguousarray(gradients[0].transpose(order)),))


@REFERENCE.register("layout_change", backward=layout_change_backward)
def layout_change(layer: LayoutChange, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The axes in their new order, in memory too."""
    return OpResult((np.ascontiguousarray(inputs[0].transpose(layer.permutation(inputs[0].ndim))),))
