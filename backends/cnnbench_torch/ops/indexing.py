"""Layers that take part of their input: views where PyTorch has them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Roll, Slice, Split
from cnnbench_torch.ops import inductor
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("slice")
def slice_(layer: Slice, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Basic indexing, a view; PyTorch has no negative steps, so such an axis is taken forwards and flipped."""
    x = inputs[0]
    places, backwards = [slice(None)] * x.dim(), []
    for axis, taken in layer.ranges(tuple(x.shape)).items():
        forwards = taken if taken.step > 0 else taken[::-1]
        places[axis] = slice(forwards.start, max(forwards.stop, forwards.start), forwards.step)
        if taken.step < 0:
            backwards.append(axis)
    y = x[tuple(places)]
    return OpResult((y.flip(backwards) if backwards else y,))


@OPERATIONS.register("split")
def split(layer: Split, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.split``: views."""
    return OpResult(tuple(inputs[0].split(list(layer.parts()), layer.axis)))


@OPERATIONS.register("gather")
def gather(layer: Gather, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``index_select``."""
    x = inputs[0]
    return OpResult((inductor.index_select(x, layer.axis, torch.tensor(layer.indices, device=x.device)),))


@OPERATIONS.register("gather_indices")
def gather_indices(layer: GatherIndices, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``embedding`` for rows of a table, ``index_select`` for shared indices, ``gather`` for each image's own.

    In training a narrow table is read in float32: the gradients of its rows are summed in the type that is read, and
    bfloat16 loses 12 % of 350 positive terms (PyTorch 2.13).
    """
    x, indices = inputs
    if call.training and x.dtype in (torch.bfloat16, torch.float16):
        wide = gather_indices(layer, (x.float(), indices), weights, state, call)
        return OpResult((wide.outputs[0].to(x.dtype),))
    axis, shared = layer.axis, layer.shared_axes
    if axis == 0 and x.dim() == 2 and x.is_floating_point():
        return OpResult((functional.embedding(indices, x),))
    shape = layer.output_shapes((tuple(x.shape), tuple(indices.shape)))[0]
    if shared == 0:
        return OpResult((x.index_select(axis, indices.flatten()).reshape(shape),))
    own = indices.flatten(shared) if indices.dim() > shared else indices.unsqueeze(-1)
    lead, tail = tuple(x.shape[:axis]), tuple(x.shape[axis + 1 :])
    own = own.reshape((*own.shape[:shared], *(1,) * (axis - shared), own.shape[-1], *(1,) * len(tail)))
    return OpResult((x.gather(axis, own.expand((*lead, own.shape[axis], *tail))).reshape(shape),))


@OPERATIONS.register("roll")
def roll(layer: Roll, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.roll``."""
    return OpResult((inputs[0].roll(layer.shifts, layer.axes),))
