"""Sampling at the points of a grid."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.sampling import GridSample
from cnnbench_torch.ops.reduction import wide
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]

MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}  # bilinear is what it calls trilinear too


@OPERATIONS.register("grid_sample")
def grid_sample(layer: GridSample, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``grid_sample``, in float32 at least: coordinates in bfloat16 would miss their pixels."""
    x, grid = inputs
    y = functional.grid_sample(
        wide(x), wide(grid), mode=MODES[layer.mode], padding_mode=layer.padding, align_corners=layer.align_corners
    )
    return OpResult((y.to(x.dtype),))
