"""Pooling by the p-norm on TensorFlow."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.power_pooling import LpPool
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.pooling import windowed_sum
from cnnbench_tensorflow.ops.registry import OPERATIONS
from cnnbench_tensorflow.ops.windows import geometry, nothing, output_sizes

Values = tuple[Any, ...]


@OPERATIONS.register("lp_pool")
def lp_pool(layer: LpPool, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The root of windowed sums of powers; no gradient where it is 0. TensorFlow has no such op."""
    x = inputs[0]
    if x.shape[0] == 0:
        return OpResult((nothing(layer, x),))
    sizes = output_sizes(layer, x)
    window, image = geometry(layer, wide(x), sizes)
    total = windowed_sum(_power(layer, image), window)
    if len(sizes) == 1:
        total = tf.squeeze(total, 1)
    if layer.rescale_partial:
        scale = reduce(np.multiply.outer, map(np.asarray, layer.partial_scales(tuple(x.shape[1:-1]))))
        total = total * tf.constant(scale[None, ..., None], total.dtype)
    return OpResult((tf.cast(_root(layer, total), x.dtype),))


def _power(layer: LpPool, x: Any) -> Any:
    if layer.p == 2:
        return tf.square(x)
    magnitude = tf.abs(x) if layer.by_magnitude and layer.p % 2 else x
    return magnitude if layer.p == 1 else tf.pow(magnitude, tf.constant(layer.p, x.dtype))


def _root(layer: LpPool, total: Any) -> Any:
    if layer.p == 1:
        return total
    zero = tf.equal(total, 0)
    safe = tf.where(zero, tf.ones_like(total), total)
    root = tf.sqrt(safe) if layer.p == 2 else tf.pow(safe, tf.constant(1 / layer.p, total.dtype))
    return tf.where(zero, tf.zeros_like(total), root)
