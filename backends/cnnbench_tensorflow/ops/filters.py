"""Constant filters: the depthwise convolution where TensorFlow has it, else shifted multiply-adds."""

from __future__ import annotations

import itertools
from functools import reduce
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.filters import ConstantFilter
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS, XLA

Values = tuple[Any, ...]


@OPERATIONS.register("constant_filter")
def constant_filter(layer: ConstantFilter, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``depthwise_conv2d`` of images, whose strides must agree; not in narrow types, in which it loses digits."""
    x, strides = inputs[0], layer.strides()
    if x.shape.rank != 4 or strides[0] != strides[1] or x.dtype not in (tf.float32, tf.float64) or 0 in x.shape:
        return filter_by_shifts(layer, inputs, weights, state, call)
    kernel = tf.tile(tf.constant(layer.weights_row_major, x.dtype, (*layer.kernel_size, 1, 1)), (1, 1, x.shape[-1], 1))
    return OpResult((tf.nn.depthwise_conv2d(x, kernel, (1, *strides, 1), "VALID"),))


@XLA.register("constant_filter")
def filter_by_shifts(layer: ConstantFilter, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """For each weight a strided slice, summed in float32 at least."""
    x = inputs[0] if inputs[0].dtype == tf.float64 else tf.cast(inputs[0], tf.float32)
    sizes = layer.output_shapes(((1, 1, *x.shape[1:-1]),))[0][2:]
    terms = []
    for weight, tap in zip(layer.weights_row_major, itertools.product(*map(range, layer.kernel_size)), strict=True):
        rows = zip(tap, layer.strides(), sizes, strict=True)
        view = (slice(None), *(slice(k, k + (n - 1) * s + 1, s) for k, s, n in rows))
        terms.append(weight * x[view])
    return OpResult((tf.cast(reduce(tf.add, terms), inputs[0].dtype),))
