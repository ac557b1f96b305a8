"""Layers that join values."""

from __future__ import annotations

from functools import reduce
from operator import add as plus
from operator import mul as times

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Add, Concat
from cnnbench.spec.layers.merge import Divide, Maximum, Mean, Minimum, Multiply, PowerOf, Select, Subtract
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("add")
def add(layer: Add, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Sums from left to right."""
    return OpResult((reduce(plus, inputs),))


@OPERATIONS.register("concat")
def concat(layer: Concat, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.cat``."""
    return OpResult((torch.cat(inputs, layer.axis),))


@OPERATIONS.register("multiply")
def multiply(layer: Multiply, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Products from left to right."""
    return OpResult((reduce(times, inputs),))


@OPERATIONS.register("subtract")
def subtract(layer: Subtract, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.sub``."""
    return OpResult((torch.sub(inputs[0], inputs[1]),))


@OPERATIONS.register("divide")
def divide(layer: Divide, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.div``."""
    return OpResult((torch.div(inputs[0], inputs[1]),))


@OPERATIONS.register("power")
def power(layer: PowerOf, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.pow``; the exponent's gradient, NaN for a negative base there, is let through for positive ones only."""
    base, exponent = torch.broadcast_tensors(*inputs)
    return OpResult((torch.pow(base, torch.where(base > 0, exponent, exponent.detach())),))


@OPERATIONS.register("maximum")
def maximum(layer: Maximum, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.maximum``: keeps NaN, halves the gradient between equals."""
    return OpResult((reduce(torch.maximum, inputs),))


@OPERATIONS.register("minimum")
def minimum(layer: Minimum, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.minimum``."""
    return OpResult((reduce(torch.minimum, inputs),))


@OPERATIONS.register("mean")
def mean(layer: Mean, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The sum over the number of values."""
    return OpResult((reduce(plus, inputs) / len(inputs),))


@OPERATIONS.register("select")
def select(layer: Select, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.where``."""
    return OpResult((torch.where(inputs[0] != 0, inputs[1], inputs[2]),))
