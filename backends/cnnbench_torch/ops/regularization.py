"""Dropout of elements or branches, by a mask that the program is given, or by PyTorch's own generator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Dropout
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("dropout")
def dropout(layer: Dropout, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """x * mask / (1 - p) in training, x at inference."""
    if not call.masks:
        return OpResult(inputs)
    return OpResult((inputs[0] * call.masks[0] / (1.0 - layer.p),))


@OPERATIONS.register("stochastic_depth")
def shared_dropout(layer: Dropout, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """As ``dropout`` with a mask that broadcasts; drawn here where none is given."""
    if not call.masks:
        return OpResult(inputs)
    x, mask = inputs[0], call.masks[0]
    if mask is None:
        shape = layer.masks((tuple(x.shape),))[0].shape
        mask = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1.0 - layer.p)
    return OpResult((x * (mask / (1.0 - layer.p)),))


def native_dropout(layer: Dropout, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.dropout``: registered in place of ``dropout`` where only speed counts."""
    return OpResult((functional.dropout(inputs[0], layer.p, call.training),))
