"""Activations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("relu")
def relu(layer: ReLU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.relu``: keeps NaN, gradient 0 at 0."""
    return OpResult((functional.relu(inputs[0]),))


@OPERATIONS.register("tanh")
def tanh(layer: Tanh, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.tanh`` with the scales that are not 1."""
    x = inputs[0]
    y = torch.tanh(x if layer.input_scale == 1 else x * layer.input_scale)
    return OpResult((y if layer.output_scale == 1 else y * layer.output_scale,))


@OPERATIONS.register("sigmoid")
def sigmoid(layer: Sigmoid, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.sigmoid``."""
    return OpResult((torch.sigmoid(inputs[0]),))


@OPERATIONS.register("softmax")
def softmax(layer: Softmax, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.softmax``; the memory format leaves the axes as they are."""
    return OpResult((functional.softmax(inputs[0], layer.axis),))


@OPERATIONS.register("log_softmax")
def log_softmax(layer: LogSoftmax, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.log_softmax``."""
    return OpResult((functional.log_softmax(inputs[0], layer.axis),))


@OPERATIONS.register("hardmax")
def hardmax(layer: Hardmax, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """A one at ``argmax``, which names the first of equal maxima."""
    x = inputs[0]
    return OpResult((torch.zeros_like(x).scatter_(layer.axis, x.argmax(layer.axis, keepdim=True), 1.0),))
