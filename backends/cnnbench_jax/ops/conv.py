"""Convolutions on ``jax.lax``, with the formulations that XLA's host code generator runs fast."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult, WeightLayout
from cnnbench.spec.layers.conv import Conv, Convolution, PartialConv, connection_shape
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_jax.ops.registry import OPERATIONS
from cnnbench_jax.ops.windows import WindowTaps, full_padding, on_host, pad_spatial, unrolls

Arrays = tuple[Array, ...]


def _to_native(layer: Convolution, name: str, array: Any, channels_last: bool) -> Any:
    """OIHW as correlation reads it, HWIO where images are channels-last."""
    if name != "weight":
        return array
    correlated = layer.correlated(array) if isinstance(layer, Conv) else array
    return np.moveaxis(correlated, (0, 1), (-1, -2)) if channels_last else correlated


def _to_canonical(layer: Convolution, name: str, array: Any, channels_last: bool) -> Any:
    if name != "weight":
        return array
    canonical = np.moveaxis(array, (-1, -2), (0, 1)) if channels_last else array
    return layer.correlated(canonical) if isinstance(layer, Conv) else canonical


KERNEL_LAYOUT = WeightLayout(_to_native, _to_canonical)


def dimension_numbers(call: Call, axes: int) -> tuple[str, str, str]:
    """What XLA calls the axes of image, kernel and result."""
    letters = "DHW"[3 - axes :]
    image, kernel = (f"N{letters}C", f"{letters}IO") if call.channels_last else (f"NC{letters}", f"OI{letters}")
    return image, kernel, image


def _convolve(x: Array, weight: Array, layer: Conv | PartialConv, call: Call, groups: int = 1) -> Array:
    window = layer.window()
    return lax.conv_general_dilated(
        x,
        weight,
        window.stride,
        require_pairs(layer.padding),
        rhs_dilation=window.dilation,
        dimension_numbers=dimension_numbers(call, len(window.kernel_size)),
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )


def _is_pointwise(layer: Conv) -> bool:
    sizes, padding = layer.window().kernel_size, require_pairs(layer.padding)
    return layer.groups == 1 and all(k == 1 for k in sizes) and not any(map(any, padding))


def _pointwise(x: Array, weight: Array, layer: Conv, call: Call) -> Array:
    """A 1x1 convolution of channels-last images as one matrix product."""
    strides = layer.window().stride
    if any(s > 1 for s in strides):
        x = x[call.per_axis((slice(None), slice(None), *(slice(None, None, s) for s in strides)))]
    matrix = weight.reshape(weight.shape[-2:])
    return lax.dot_general(x, matrix, (((x.ndim - 1,), (0,)), ((), ())), precision=lax.Precision.HIGHEST)


def add_bias(y: Array, bias: Array, call: Call) -> Array:
    """``y`` plus a value for each channel, in float32 where the type is narrower.

    The gradient of the bias is summed in the type of the sum, and XLA's bfloat16 loses half of 1,500 positive terms
    on the host (JAX 0.10).

    Args:
        y: A convolution's output, channels on the axis that ``call`` names.
        bias: (C,).
        call: With the layout.
    """
    axis, wide = call.channel_axis(y.ndim), jnp.promote_types(y.dtype, jnp.float32)
    values = bias.astype(wide).reshape([-1 if i == axis else 1 for i in range(y.ndim)])
    return (y.astype(wide) + values).astype(y.dtype)


def _depthwise(x: Array, weight: Array, layer: Conv, call: Call) -> Array:
    """One multiply and add a tap over the whole image, summed in float32 where the type is narrower."""
    window = layer.window()
    rank, wide = x.ndim, jnp.promote_types(x.dtype, jnp.float32)
    spatial = tuple(x.shape[call.axis(i, rank)] for i in range(2, rank))
    sizes = layer.output_shapes(((1, x.shape[call.channel_axis(rank)], *spatial),))[0][2:]
    padded = pad_spatial(x, call, full_padding(window, require_pairs(layer.padding), spatial, sizes))
    axis = call.channel_axis(rank)
    multiplier = layer.out_channels // layer.groups
    total: Array | None = None
    for index, values in WindowTaps(padded, call, window, sizes):
        factor = weight[(*index, 0)] if call.channels_last else weight[(slice(None), 0, *index)]
        factor = factor.reshape([-1 if i == axis else 1 for i in range(rank)])
        repeated = values if multiplier == 1 else jnp.repeat(values, multiplier, axis)
        product = repeated.astype(wide) * factor.astype(wide)
        total = product if total is None else total + product
    assert total is not None  # a kernel has at least one tap
    return total.astype(x.dtype)


@OPERATIONS.register("conv", weight_layout=KERNEL_LAYOUT)
def conv(layer: Conv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``conv_general_dilated``, but on the host depthwise as shifted multiply-adds and 1x1 as a product.

    Measured with JAX 0.10 on two cores: products take 0.8 to 0.9 of the processor time of a whole ResNet-50, forward
    and reverse.
    """
    x = inputs[0]
    depthwise = layer.groups > 1 and layer.groups == x.shape[call.channel_axis(x.ndim)]
    if depthwise and unrolls(layer.window()):
        y = _depthwise(x, weights[0], layer, call)
    elif call.channels_last and _is_pointwise(layer) and on_host():
        y = _pointwise(x, weights[0], layer, call)
    else:
        y = _convolve(x, weights[0], layer, call, layer.groups)
    return OpResult((add_bias(y, weights[1], call) if layer.bias else y,))


@OPERATIONS.register("partial_conv")
def partial_conv(layer: PartialConv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A dense convolution whose absent connections are zero: JAX has no partial one."""
    kernels, bias = weights
    shape = connection_shape(layer, inputs[0].shape[call.channel_axis(4)])
    rows, columns = zip(*layer.pairs(), strict=True)
    dense = jnp.zeros(shape, kernels.dtype).at[np.asarray(rows), np.asarray(columns)].set(kernels)
    if call.channels_last:
        dense = jnp.transpose(dense, (2, 3, 1, 0))
    return OpResult((add_bias(_convolve(inputs[0], dense, layer, call), bias, call),))
