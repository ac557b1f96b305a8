"""Reference ops that exchange channels with channels or with positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.rearrange import Rearranging
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


def rearrange_backward(layer: Rearranging, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The same steps backwards."""
    steps = layer.rearrangement(saved, call.channels_last)
    parts = [steps.split[axis] for axis in steps.permutation]
    return Gradients((gradients[0].reshape(parts).transpose(np.argsort(steps.permutation)).reshape(saved),))


@REFERENCE.register("channel_shuffle", backward=rearrange_backward)
@REFERENCE.register("depth_to_space", backward=rearrange_backward)
@REFERENCE.register("space_to_depth", backward=rearrange_backward)
def rearrange(layer: Rearranging, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The axes split, put in another order, and joined."""
    x = inputs[0]
    steps = layer.rearrangement(x.shape, call.channels_last)
    return OpResult((x.reshape(steps.split).transpose(steps.permutation).reshape(steps.joined),), saved=x.shape)
