"""Layers that exchange channels with channels or with positions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.rearrange import DepthToSpace, Rearranging, SpaceToDepth
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("channel_shuffle")
@OPERATIONS.register("depth_to_space")
@OPERATIONS.register("space_to_depth")
def rearrange(layer: Rearranging, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``pixel_shuffle`` and ``pixel_unshuffle`` where they are it: square blocks of images, order CRD; else views."""
    x = inputs[0]
    if isinstance(layer, DepthToSpace | SpaceToDepth) and layer.order == "CRD" and x.dim() == 4:
        block = layer.block
        if isinstance(block, tuple) and block[0] == block[1]:
            function = functional.pixel_shuffle if isinstance(layer, DepthToSpace) else functional.pixel_unshuffle
            return OpResult((function(x, block[0]),))
    steps = layer.rearrangement(tuple(x.shape))
    return OpResult((x.reshape(steps.split).permute(steps.permutation).reshape(steps.joined),))
