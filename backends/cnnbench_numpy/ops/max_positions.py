"""Reference positions of max pooling's maxima."""

from __future__ import annotations

import math

import numpy as np

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.max_positions import MaxPoolPositions
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


@REFERENCE.register("max_pool_positions")
def max_pool_positions(layer: MaxPoolPositions, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The first of the largest taps of each window, named by its position."""
    x = inputs[0]
    taken, inside, numbers = layer.places(x.shape)
    shape = layer.output_shapes((x.shape,))[0]
    images = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    taps = np.where(inside, images[:, :, taken], -np.inf)  # (N, C, windows, taps)
    first = np.argmax(np.where(np.isnan(taps), -np.inf, taps), axis=-1)
    found = np.take_along_axis(np.broadcast_to(numbers, taps.shape), first[..., None], axis=-1)[..., 0]
    if layer.counted == "tensor":
        count = images.shape[2]
        found = found + (np.arange(np.prod(x.shape[:2]), dtype=np.int64) * count).reshape(*x.shape[:2], 1)
    return OpResult((found.reshape(shape),))
