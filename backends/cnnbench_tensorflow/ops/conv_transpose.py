"""Transposed convolutions: TensorFlow's own, or a convolution of the input with zeros between its elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, OpResult, WeightLayout
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.windows import PaddingPairs
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.conv import convolve, with_holes
from cnnbench_tensorflow.ops.linear import add_bias
from cnnbench_tensorflow.ops.registry import OPERATIONS
from cnnbench_tensorflow.ops.windows import WindowGeometry, crop_image, nothing, ones_around, pad_image

Values = tuple[Any, ...]


def _to_native(layer: ConvTranspose, name: str, array: Any, channels_last: bool) -> Any:
    """(C, O, *k) -> (*k, O, C); with groups the kernel (*k, C/G, O) of the equal convolution, flipped."""
    if name != "weight":
        return array
    if layer.groups == 1:
        return array.transpose((*range(2, array.ndim), 1, 0))
    out = array.shape[1]
    grouped = array.reshape(layer.groups, -1, out, *array.shape[2:])
    merged = np.moveaxis(grouped, 0, 1).reshape(grouped.shape[1], layer.groups * out, *array.shape[2:])
    return np.flip(np.moveaxis(merged, (0, 1), (-2, -1)), tuple(range(array.ndim - 2)))


def _to_canonical(layer: ConvTranspose, name: str, array: Any, channels_last: bool) -> Any:
    """The inverse of ``_to_native``."""
    if name != "weight":
        return array
    rank = array.ndim
    if layer.groups == 1:
        return array.transpose((rank - 1, rank - 2, *range(rank - 2)))
    merged = np.moveaxis(np.flip(array, tuple(range(rank - 2))), (-2, -1), (0, 1))
    grouped = np.moveaxis(merged.reshape(merged.shape[0], layer.groups, -1, *merged.shape[2:]), 1, 0)
    return grouped.reshape(-1, *grouped.shape[2:])


KERNEL_LAST = WeightLayout(_to_native, _to_canonical)


@OPERATIONS.register("conv_transpose", weight_layout=KERNEL_LAST)
def conv_transpose(layer: ConvTranspose, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The full output, of which the borders are cropped; by TensorFlow's SAME where that is what is asked for.

    ``conv2d_transpose`` has no groups in float64 and no dilation in its gradients, ``conv3d_transpose`` neither: groups
    are convolved over an input with zeros between its elements, and a dilated kernel gets zeros between its own.
    """
    x, kernel = inputs[0], weights[0]
    if x.shape[0] == 0:
        return OpResult((nothing(layer, x),))
    line = x.shape.rank == 3
    window, borders = _geometry(layer, x), layer.borders()
    if line:
        x, kernel, borders = tf.expand_dims(x, 1), tf.expand_dims(kernel, 0), ((0, 0), *borders)
    kernel, window = with_holes(kernel, window)
    y = (
        _laid_out(x, kernel, window, borders)
        if layer.groups == 1
        else _spread(x, kernel, window, borders, layer.groups)
    )
    if line:
        y = tf.squeeze(y, 1)
    return OpResult((add_bias(y, weights[1]) if layer.bias else y,))


def _geometry(layer: ConvTranspose, x: Any) -> WindowGeometry:
    """The window of the convolution whose gradient this is, over at least two axes: it reads the full output."""
    taps, spatial = layer.taps(), tuple(x.shape[1:-1])
    lead = (1,) if len(spatial) == 1 else ()
    full = (*lead, *layer.full_sizes(spatial))
    none = ((0, 0),) * len(full)
    kernel, stride, dilation = ((*lead, *numbers) for numbers in taps)
    return WindowGeometry(full, kernel, stride, dilation, none, (*lead, *spatial))


def _laid_out(x: Any, kernel: Any, window: WindowGeometry, borders: PaddingPairs) -> Any:
    """``conv2d_transpose`` or ``conv3d_transpose``."""
    function = tf.nn.conv2d_transpose if len(window.size) == 2 else tf.nn.conv3d_transpose
    batch, channels = x.shape[0], kernel.shape[-2]
    surplus = [max(k - s, 0) for k, s in zip(window.kernel, window.stride, strict=True)]
    kept = tuple(size - begin - end for size, (begin, end) in zip(window.size, borders, strict=True))
    wanted = tuple(n * s for n, s in zip(window.outputs, window.stride, strict=True))
    if kept == wanted and all(begin == total // 2 for (begin, _), total in zip(borders, surplus, strict=True)):
        return function(x, kernel, (batch, *kept, channels), ones_around(window.stride), "SAME")
    full = function(x, kernel, (batch, *window.size, channels), ones_around(window.stride), "VALID")
    return crop_image(full, borders)


def _spread(x: Any, kernel: Any, window: WindowGeometry, borders: PaddingPairs, groups: int) -> Any:
    """A convolution of stride 1 over the input with stride - 1 zeros between its elements."""
    for axis, stride in enumerate(window.stride, start=1):
        if stride == 1:
            continue
        shape = list(x.shape)
        widths = [(0, 0)] * (len(shape) + 1)
        widths[axis + 1] = (0, stride - 1)
        spread = tf.reshape(
            tf.pad(tf.expand_dims(x, axis + 1), widths), (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :])
        )
        x = spread[(*(slice(None),) * axis, slice(0, (shape[axis] - 1) * stride + 1))]
    padding = tuple((k - 1 - begin, k - 1 - end) for k, (begin, end) in zip(window.kernel, borders, strict=True))
    cropped = crop_image(x, tuple((max(-begin, 0), max(-end, 0)) for begin, end in padding))
    x = pad_image(cropped, tuple((max(begin, 0), max(end, 0)) for begin, end in padding))
    size, ones = tuple(x.shape[1:-1]), (1,) * len(window.kernel)
    outputs = tuple(n - k + 1 for n, k in zip(size, window.kernel, strict=True))
    return convolve(x, kernel, WindowGeometry(size, window.kernel, ones, ones, ((0, 0),) * len(ones), outputs), groups)
