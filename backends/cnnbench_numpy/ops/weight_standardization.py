"""Reference convolution with a standardised weight, and the gradient through the standardisation."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.weight_standardization import ScaledWSConv
from cnnbench_numpy.ops.conv import conv, conv_backward
from cnnbench_numpy.ops.registry import Array, Arrays, spatial


class Standardized(NamedTuple):
    """What standardising a weight gives.

    Args:
        weight: gain (w - m) r.
        normal: (w - m) r.
        inverse: r = 1 / sqrt(D), of shape (O, 1, ...).
        slope: dD/dv, the same shape.
        gain: The gain, the same shape; ones where there is none.
    """

    weight: Array
    normal: Array
    inverse: Array
    slope: Array
    gain: Array


def standardized(layer: ScaledWSConv, weights: Arrays) -> Standardized:
    """w^ = gain (w - m) / sqrt(D) for each output channel."""
    weight = weights[0]
    axes = tuple(range(1, weight.ndim))
    count = math.prod(weight.shape[1:])
    centred = weight - weight.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    if layer.form == "scaled":
        square, slope = np.maximum(count * variance, layer.eps), count * (count * variance > layer.eps)
    elif layer.form == "scaled_sum":
        square, slope = count * (variance + layer.eps), np.full_like(variance, count)
    else:
        square, slope = variance + layer.eps, np.ones_like(variance)
    inverse = 1 / np.sqrt(square)
    gain = weights[-1].reshape(variance.shape) if layer.gain else np.ones_like(variance)
    return Standardized(gain * centred * inverse, centred * inverse, inverse, slope.astype(weight.dtype), gain)


def scaled_ws_conv_backward(
    layer: ScaledWSConv, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """With g = dw^ gain and n = (w - m) r: dw = r (g - mean g - (dD/dv) mean(g n) n); dgain = sum dw^ n."""
    made = standardized(layer, weights)
    axes = tuple(range(1, made.weight.ndim))
    result = conv_backward(layer.plain(), saved, gradients, (made.weight, *weights[1 : 1 + layer.bias]), call)
    d_made, *d_bias = result.weights
    assert d_made is not None  # a convolution's weight has a gradient
    cotangent = d_made * made.gain
    along = (cotangent * made.normal).mean(axis=axes, keepdims=True)
    d_centred = cotangent - cotangent.mean(axis=axes, keepdims=True)
    d_weight = made.inverse * (d_centred - made.slope * along * made.normal)
    d_gain = ((d_made * made.normal).sum(axis=axes),) if layer.gain else ()
    return Gradients(result.inputs, (d_weight, *d_bias, *d_gain))


@spatial("scaled_ws_conv", backward=scaled_ws_conv_backward)
def scaled_ws_conv(layer: ScaledWSConv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The convolution by the standardised weight."""
    operands = (standardized(layer, weights).weight, *weights[1 : 1 + layer.bias])
    return conv(layer.plain(), inputs, operands, state, call)
