"""Reductions over any axes, positions of extremes, and the largest few."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, TopK
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


def wide(x: Tensor) -> Tensor:
    """In float32 at least: a function of narrow values is rounded once, when it is stored."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _extreme(x: Tensor, axes: tuple[int, ...], *, largest: bool) -> Tensor:
    """``amax`` and ``amin``, which share the gradient among equals; they refuse empty axes."""
    if any(x.shape[axis] == 0 for axis in axes):
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        return x.new_full(shape, -math.inf if largest else math.inf)
    return torch.amax(x, axes, keepdim=True) if largest else torch.amin(x, axes, keepdim=True)


def _reduced(function: str, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    match function:
        case "sum":
            return x.sum(axes, keepdim=True)
        case "mean":
            return x.mean(axes, keepdim=True)
        case "max" | "min":
            return _extreme(x, axes, largest=function == "max")
        case "prod":
            for axis in axes:
                x = x.prod(axis, keepdim=True)
            return x
        case "l1" | "l2":
            return torch.linalg.vector_norm(x, 1 if function == "l1" else 2, axes, keepdim=True)
        case "sum_square":
            return x.square().sum(axes, keepdim=True)
        case "log_sum":
            return x.sum(axes, keepdim=True).log()
    return torch.logsumexp(x, axes, keepdim=True)


@OPERATIONS.register("reduce")
def reduce(layer: Reduce, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The function of that name. PyTorch takes no axes for all axes, so an axis of size 1 is reduced instead."""
    x = inputs[0]
    axes = layer.reduced(x.dim())
    plain = layer.function in ("sum", "mean", "max", "min")  # rounded once as they are
    held = x if plain else wide(x)
    if axes:
        y = _reduced(layer.function, held, axes)
        y = y if layer.keepdims else y.squeeze(axes)
    else:
        y = _reduced(layer.function, held.unsqueeze(-1), (x.dim(),)).squeeze(-1)
    return OpResult((y.to(x.dtype),))


@OPERATIONS.register("arg_reduce")
def arg_reduce(layer: ArgReduce, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.argmax``; the last of equals is the first of the flipped values."""
    x, axis = inputs[0], layer.axis
    find = torch.argmax if layer.function == "argmax" else torch.argmin
    if layer.select_last_index:
        return OpResult((x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=layer.keepdims),))
    return OpResult((find(x, axis, keepdim=layer.keepdims),))


OPERATIONS.lacks("top_k", "NaN counts as the largest value; in the reference it comes last", special_values="always")


@OPERATIONS.register("top_k")
def top_k(layer: TopK, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The first k of a stable sort: ``torch.topk`` gives equal values in any order."""
    values, positions = torch.sort(inputs[0], dim=layer.axis, descending=layer.largest, stable=True)
    return OpResult((values.narrow(layer.axis, 0, layer.k), positions.narrow(layer.axis, 0, layer.k)))
