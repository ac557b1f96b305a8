"""Transposed convolutions on ``jax.lax``: a convolution of the input with zeros between its elements."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult, WeightLayout
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.windows import effective_size
from cnnbench_jax.ops.conv import add_bias, dimension_numbers
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def _turned(layer: ConvTranspose, array: Any) -> Any:
    """(C, O/G, *k) and (O, C/G, *k), kernels flipped: each is made from the other in the same way."""
    per_group = array.reshape(layer.groups, -1, *array.shape[1:]).swapaxes(1, 2)
    merged = per_group.reshape(-1, *per_group.shape[2:])
    return np.flip(merged, tuple(range(2, merged.ndim)))


def _to_native(layer: ConvTranspose, name: str, array: Any, channels_last: bool) -> Any:
    """The weight of the equal convolution: OIHW, or HWIO where images are channels-last."""
    if name != "weight":
        return array
    turned = _turned(layer, array)
    return np.moveaxis(turned, (0, 1), (-1, -2)) if channels_last else turned


def _to_canonical(layer: ConvTranspose, name: str, array: Any, channels_last: bool) -> Any:
    if name != "weight":
        return array
    return _turned(layer, np.moveaxis(array, (-1, -2), (0, 1)) if channels_last else array)


@OPERATIONS.register("conv_transpose", weight_layout=WeightLayout(_to_native, _to_canonical))
def conv_transpose(layer: ConvTranspose, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``conv_general_dilated`` with ``lhs_dilation``; what is cropped is padding that is left out."""
    window = layer.taps()
    reach = [effective_size(k, d) - 1 for k, d in zip(window.kernel_size, window.dilation, strict=True)]
    y = lax.conv_general_dilated(
        inputs[0],
        weights[0],
        (1,) * len(reach),
        [(most - begin, most - end) for most, (begin, end) in zip(reach, layer.borders(), strict=True)],
        lhs_dilation=window.stride,
        rhs_dilation=window.dilation,
        dimension_numbers=dimension_numbers(call, len(reach)),
        feature_group_count=layer.groups,
        precision=lax.Precision.HIGHEST,
    )
    return OpResult((add_bias(y, weights[1], call) if layer.bias else y,))
