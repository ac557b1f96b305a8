"""Layers that join values."""

from __future__ import annotations

from functools import reduce
from operator import add as plus

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Add, Concat
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
