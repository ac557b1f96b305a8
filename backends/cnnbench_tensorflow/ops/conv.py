"""Convolutions: the general one in 1, 2 and 3 dimensions, and LeNet-5's partially connected one."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult, WeightLayout
from cnnbench.spec.layers import Conv, PartialConv
from cnnbench.spec.layers.conv import Convolution
from cnnbench_tensorflow.framework import ONEDNN, sums_bfloat16_in_float32, tf, wide
from cnnbench_tensorflow.ops.linear import add_bias
from cnnbench_tensorflow.ops.registry import OPERATIONS
from cnnbench_tensorflow.ops.windows import WindowGeometry, geometry, nothing, ones_around, output_sizes, pad_image

Values = tuple[Any, ...]


def _to_native(layer: Convolution, name: str, array: Any, channels_last: bool) -> Any:
    """(O, I, *kernel) -> (*kernel, I, O), as correlation reads it."""
    if name != "weight":
        return array
    correlated = layer.correlated(array) if isinstance(layer, Conv) else array
    return correlated.transpose((*range(2, array.ndim), 1, 0))


def _to_canonical(layer: Convolution, name: str, array: Any, channels_last: bool) -> Any:
    """The inverse of ``_to_native``."""
    if name != "weight":
        return array
    rank = array.ndim
    canonical = array.transpose((rank - 1, rank - 2, *range(rank - 2)))
    return layer.correlated(canonical) if isinstance(layer, Conv) else canonical


KERNEL_LAST = WeightLayout(_to_native, _to_canonical)


@OPERATIONS.register("conv", weight_layout=KERNEL_LAST)
def conv(layer: Conv, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Convolution of (N, *spatial, C) with a kernel (*kernel, C/G, O)."""
    kernel = weights[0]
    if inputs[0].shape[0] == 0:
        return OpResult((nothing(layer, inputs[0]),))
    sizes = output_sizes(layer, inputs[0])
    window, x = geometry(layer, inputs[0], sizes)
    if len(sizes) == 1:
        kernel = tf.expand_dims(kernel, 0)
    y = convolve(x, kernel, window, layer.groups)
    if len(sizes) == 1:
        y = tf.squeeze(y, 1)
    if layer.bias:
        y = add_bias(y, weights[1])
    return OpResult((y,))


@OPERATIONS.register("partial_conv")
def partial_conv(layer: PartialConv, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A convolution with the dense kernel whose absent connections are zero."""
    if inputs[0].shape[0] == 0:
        return OpResult((nothing(layer, inputs[0]),))
    window, x = geometry(layer, inputs[0], output_sizes(layer, inputs[0]))
    shape = (x.shape[-1], len(layer.connections), *window.kernel)
    places = tf.constant([(seen, output) for output, seen in layer.pairs()], tf.int32)
    dense = tf.transpose(tf.scatter_nd(places, weights[0], shape), (2, 3, 0, 1))
    return OpResult((add_bias(convolve(x, dense, window, 1), weights[1]),))


def convolve(x: Any, kernel: Any, window: WindowGeometry, groups: int) -> Any:
    """The convolution of an image of two or three axes, around what TensorFlow's CPU kernels lack.

    Three axes have no groups and no gradient with dilation; float64, and without oneDNN every type, has neither
    gradient in two. There, groups are convolutions of their own and a dilated kernel has zeros between its elements.
    Without oneDNN's kernels for bfloat16, sums are accumulated in bfloat16 (25 % off after 8,000 terms), so they are
    made in float32 and rounded once.

    Args:
        x: (N, *spatial, C).
        kernel: (*kernel, C / groups, O).
        window: With the padding and the output's sizes.
        groups: Of channels.
    """
    if x.dtype == tf.bfloat16 and not sums_bfloat16_in_float32():
        return tf.cast(convolve(wide(x), wide(kernel), window, groups), tf.bfloat16)
    narrow = len(window.size) == 3 or x.dtype == tf.float64 or not ONEDNN
    if window.dilated and narrow:
        kernel, window = with_holes(kernel, window)
    if groups == 1:
        return _convolution(x, kernel, window, groups)
    if _is_depthwise(x, kernel, window, groups):
        return _depthwise(x, kernel, window, groups)
    if narrow:
        parts = zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
        return tf.concat([_convolution(part, own, window, 1) for part, own in parts], axis=-1)
    return _convolution(x, kernel, window, groups)


def _convolution(x: Any, kernel: Any, window: WindowGeometry, groups: int) -> Any:
    """TensorFlow's own convolution, padded by itself where its gradient allows it.

    With explicit padding the filter's gradient fails for groups and dilation, and in bfloat16 its sums are
    accumulated in bfloat16 (4 % off after 8,000 terms).
    """
    padding: Any = window.named_padding()
    pads_itself = len(window.size) == 2 and groups == 1 and not window.dilated and x.dtype != tf.bfloat16
    if padding is None and pads_itself:
        padding = [[0, 0], *map(list, window.padding), [0, 0]]
    elif padding is None:
        x, padding = pad_image(x, window.padding), "VALID"
    function = tf.nn.conv2d if len(window.size) == 2 else tf.nn.conv3d
    return function(x, kernel, ones_around(window.stride), padding, dilations=ones_around(window.dilation))


def _is_depthwise(x: Any, kernel: Any, window: WindowGeometry, groups: int) -> bool:
    """Whether the depthwise op computes it: a group a channel, one stride, no dilation (with which it errs)."""
    return (
        groups == x.shape[-1]
        and len(window.size) == 2
        and len(set(window.stride)) == 1
        and not window.dilated
        and x.dtype != tf.bfloat16
    )


def _depthwise(x: Any, kernel: Any, window: WindowGeometry, groups: int) -> Any:
    height, width, _, out_channels = kernel.shape
    kernel = tf.reshape(kernel, (height, width, groups, out_channels // groups))
    padding = window.named_padding()
    if padding is None:
        x, padding = pad_image(x, window.padding), "VALID"
    return tf.nn.depthwise_conv2d(x, kernel, ones_around(window.stride), padding)


def with_holes(kernel: Any, window: WindowGeometry) -> tuple[Any, WindowGeometry]:
    """The kernel with dilation - 1 zeros between its elements, and the same window without dilation."""
    axes = len(window.kernel)
    extents = tuple(d * (k - 1) + 1 for k, d in zip(window.kernel, window.dilation, strict=True))
    for axis, (size, dilation, extent) in enumerate(zip(window.kernel, window.dilation, extents, strict=True)):
        if dilation == 1 or size == 1:
            continue
        shape = list(kernel.shape)
        widened = tf.expand_dims(kernel, axis + 1)
        widths = [(0, 0)] * (len(shape) + 1)
        widths[axis + 1] = (0, dilation - 1)
        stuffed = tf.reshape(tf.pad(widened, widths), (*shape[:axis], size * dilation, *shape[axis + 1 :]))
        kernel = stuffed[(*(slice(None),) * axis, slice(0, extent))]
    return kernel, window._replace(kernel=extents, dilation=(1,) * axes)
