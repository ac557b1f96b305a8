"""Normalisation by magnitude; narrow types are widened."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LocalResponseNorm, LpNorm, RMSNorm
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS
from cnnbench_tensorflow.ops.standardization import affine, single

Values = tuple[Any, ...]


OPERATIONS.lacks(
    "local_response_norm",
    "TensorFlow 2.21 sums by a product with a band of ones and zeros: a NaN or infinity reaches all channels",
    special_values="always",
)


@OPERATIONS.register("local_response_norm")
def local_response_norm(
    layer: LocalResponseNorm, inputs: Values, weights: Values, state: Values, call: Call
) -> OpResult:
    """TensorFlow's op, which does not divide alpha, for float32 images and odd windows: it has no more.

    Else the window's sum by shifted additions of the last axis.
    """
    x = inputs[0]
    if x.dtype == tf.float32 and x.shape.rank == 4 and layer.size % 2:
        y = tf.nn.local_response_normalization(
            x, depth_radius=layer.size // 2, bias=layer.k, alpha=layer.factor(), beta=layer.beta
        )
        return OpResult((y,))
    before, after = layer.reach()
    rank, channels = x.shape.rank, x.shape[-1]
    squares = tf.pad(tf.square(single(x)), [(0, 0)] * (rank - 1) + [(before, after)])
    total = tf.add_n([squares[..., i : i + channels] for i in range(before + after + 1)])
    return OpResult((tf.cast(single(x) * tf.pow(layer.k + layer.factor() * total, -layer.beta), x.dtype),))


def _unit(x: Any, axes: list[int], eps: float) -> Any:
    """x / sqrt(mean(x^2) + eps)."""
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=axes, keepdims=True) + eps)


@OPERATIONS.register("rms_norm")
def rms_norm(layer: RMSNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Over the trailing axes."""
    x = inputs[0]
    y = _unit(single(x), list(range(layer.start_axis, x.shape.rank)), layer.eps)
    return OpResult((affine(y, weights, x.dtype),))


@OPERATIONS.register("filter_response_norm")
def filter_response_norm(
    layer: FilterResponseNorm, inputs: Values, weights: Values, state: Values, call: Call
) -> OpResult:
    """Over space."""
    x = inputs[0]
    y = _unit(single(x), list(range(1, x.shape.rank - 1)), layer.eps)
    return OpResult((affine(y, weights, x.dtype),))


@OPERATIONS.register("lp_normalization")
def lp_normalization(layer: LpNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.math.l2_normalize``, whose epsilon is the square of ours, or a quotient."""
    x = single(inputs[0])
    axis = call.axis(layer.axis, x.shape.rank)
    if layer.p == 2:
        y = tf.math.l2_normalize(x, axis=axis, epsilon=layer.eps**2)
    else:
        y = x / tf.maximum(tf.reduce_sum(tf.abs(x), axis=axis, keepdims=True), layer.eps)
    return OpResult((tf.cast(y, inputs[0].dtype),))
