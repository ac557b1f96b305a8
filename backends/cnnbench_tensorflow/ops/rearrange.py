"""Layers that exchange channels with channels or with positions."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.rearrange import DepthToSpace, Rearranging, SpaceToDepth
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("channel_shuffle")
@OPERATIONS.register("depth_to_space")
@OPERATIONS.register("space_to_depth")
def rearrange(layer: Rearranging, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn``'s op where it is it: square blocks of images, order DCR; else the axes split, moved and joined."""
    x = inputs[0]
    if isinstance(layer, DepthToSpace | SpaceToDepth) and layer.order == "DCR" and call.channels_last:
        block = layer.block
        if isinstance(block, tuple) and len(block) == 2 and block[0] == block[1] > 1:
            function = tf.nn.depth_to_space if isinstance(layer, DepthToSpace) else tf.nn.space_to_depth
            return OpResult((function(x, block[0]),))
    steps = layer.rearrangement(tuple(x.shape), call.channels_last)
    return OpResult((tf.reshape(tf.transpose(tf.reshape(x, steps.split), steps.permutation), steps.joined),))
