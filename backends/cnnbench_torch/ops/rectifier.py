"""Rectifiers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.rectifier import (
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Shrink,
    ThresholdedReLU,
)
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


for _kind in ("thresholded_relu", "shrink"):
    OPERATIONS.lacks(_kind, "PyTorch hands NaN on; the layer has 0 for what is not large", special_values="always")


@OPERATIONS.register("relu6")
def relu6(layer: ReLU6, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.relu6``."""
    return OpResult((functional.relu6(inputs[0]),))


@OPERATIONS.register("leaky_relu")
def leaky_relu(layer: LeakyReLU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.leaky_relu`` with the slope that was asked for."""
    return OpResult((functional.leaky_relu(inputs[0], layer.negative_slope),))


@OPERATIONS.register("prelu")
def prelu(layer: PReLU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.prelu``, which takes one slope or one a channel."""
    return OpResult((functional.prelu(inputs[0], weights[0]),))


@OPERATIONS.register("thresholded_relu")
def thresholded_relu(layer: ThresholdedReLU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.threshold``."""
    return OpResult((functional.threshold(inputs[0], layer.alpha, 0.0),))


@OPERATIONS.register("shrink")
def shrink(layer: Shrink, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.hardshrink`` and ``softshrink``; any other bias by a choice."""
    x = inputs[0]
    if layer.bias == 0:
        return OpResult((functional.hardshrink(x, layer.threshold),))
    if layer.bias == layer.threshold:
        return OpResult((functional.softshrink(x, layer.threshold),))
    return OpResult((torch.where(x.abs() > layer.threshold, x - layer.bias * x.sign(), torch.zeros_like(x)),))


@OPERATIONS.register("hard_sigmoid")
def hard_sigmoid(layer: HardSigmoid, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.hardsigmoid`` where it is that function, else a clamped line.

    In float64 its gradient (PyTorch 2.13) is 1/6 rounded to float32, so there the line is written out.
    """
    if layer.is_relu6() and inputs[0].dtype is not torch.float64:
        return OpResult((functional.hardsigmoid(inputs[0]),))
    return OpResult((torch.clamp(layer.slope * inputs[0] + layer.offset, 0.0, 1.0),))


@OPERATIONS.register("hard_swish")
def hard_swish(layer: HardSwish, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.hardswish``."""
    return OpResult((functional.hardswish(inputs[0]),))
