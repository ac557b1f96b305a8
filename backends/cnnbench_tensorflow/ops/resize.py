"""Resizing: TensorFlow's ops in the conventions in which they are right; else products with each axis' matrix."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.interpolation import Axis, is_dyadic, matrix, taps
from cnnbench.spec.layers.resize import Resize
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS, XLA

Values = tuple[Any, ...]


@OPERATIONS.register("resize")
def resize(layer: Resize, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The library's op for rows and images, else by products."""
    x = inputs[0]
    axes = layer.axes(tuple(x.shape[1:-1]))
    native = _native(layer, axes, x.dtype) if len(axes) <= 2 else None
    if native is None:
        return resize_by_products(layer, inputs, weights, state, call)
    image = x if len(axes) == 2 else tf.expand_dims(x, 1)
    size = [axis.out for axis in axes] if len(axes) == 2 else [1, axes[0].out]
    function, named = native
    y = tf.cast(function(images=image, size=size, **named), x.dtype)  # bilinear gives float32 for every type
    return OpResult((y if len(axes) == 2 else tf.squeeze(y, 1),))


@XLA.register("resize")
def resize_by_products(layer: Resize, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Axis by axis a product with the axis' matrix, or for the nearest a gather.

    Under XLA always: its half-pixel op takes wrong neighbours for some sizes (5 to 9, 9 to 17, 10 to 18, 4 to 20 in
    TensorFlow 2.21) and is slower than the products.
    """
    x = inputs[0]
    axes = layer.axes(tuple(x.shape[1:-1]))
    if layer.mode == "nearest":
        for position, axis in enumerate(axes, start=1):
            x = tf.gather(x, taps(axis).indices[:, 0], axis=position)
        return OpResult((x,))
    y = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
    for position, axis in enumerate(axes, start=1):
        shape = tuple(y.shape)
        before, after = math.prod(shape[:position]), math.prod(shape[position + 1 :])
        rows = tf.constant(matrix(axis)[None], y.dtype)
        y = tf.matmul(rows, tf.reshape(y, (before, axis.size, after)))
        y = tf.reshape(y, (*shape[:position], axis.out, *shape[position + 1 :]))
    return OpResult((tf.cast(y, x.dtype),))


def _native(layer: Resize, axes: tuple[Axis, ...], dtype: Any) -> tuple[Any, dict[str, bool]] | None:
    """The op and its arguments where it computes this layer, else None.

    Its bicubic takes the coordinates from a table of 1,024 steps (errors of 7e-4), so it is never that.
    """
    if any(axis.scale not in (None, axis.out / axis.size) for axis in axes) or layer.antialias:
        return None
    centered = {"half_pixel_centers": layer.coordinates == "half_pixel"}
    if layer.mode == "nearest":
        convention = (layer.coordinates, layer.nearest_rounding)
        known = convention in (("asymmetric", "floor"), ("half_pixel", "round_prefer_ceil"))
        return (tf.raw_ops.ResizeNearestNeighbor, centered) if known and all(map(is_dyadic, axes)) else None
    # with exclude_outside an edge's own weight becomes 1, as it is where the edge is repeated
    if layer.mode != "linear" or dtype == tf.float64:
        return None
    if layer.coordinates == "align_corners":
        return tf.raw_ops.ResizeBilinear, {"align_corners": True}
    return (tf.raw_ops.ResizeBilinear, centered) if layer.coordinates in ("half_pixel", "asymmetric") else None
