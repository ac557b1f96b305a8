"""Layers that exchange channels with channels or with positions."""

from __future__ import annotations

from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.rearrange import Rearranging
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("channel_shuffle")
@OPERATIONS.register("depth_to_space")
@OPERATIONS.register("space_to_depth")
def rearrange(layer: Rearranging, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The axes split, put in another order, and joined."""
    x = inputs[0]
    steps = layer.rearrangement(x.shape, call.channels_last)
    return OpResult((lax.transpose(x.reshape(steps.split), steps.permutation).reshape(steps.joined),))
