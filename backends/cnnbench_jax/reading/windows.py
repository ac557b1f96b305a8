"""Convolutions and pools of a jaxpr, whatever their order of axes; inside, channels come first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnbench.spec.layers import AvgPool, Conv, MaxPool
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench_jax.reading.call import JaxCall, reads
from cnnbench_jax.reading.draft import Drafted, FixedArray, UnreadFormError, behind_order, inverse


@reads("conv_general_dilated")
def conv(call: JaxCall) -> Drafted:
    """With a dilated input it is a transposed convolution."""
    numbers, weight = call["dimension_numbers"], call.fixed(1)
    if weight is None:
        raise UnreadFormError("a kernel that is computed from an input")
    if call["batch_group_count"] != 1:
        raise UnreadFormError("batch_group_count other than 1")
    x = call.draft.moved(call.value(0), numbers.lhs_spec)
    kernel = FixedArray(weight.array.transpose(numbers.rhs_spec), weight.name)
    dilation = tuple(call["rhs_dilation"])
    if any(factor != 1 for factor in call["lhs_dilation"]):
        made = _transposed(call, x, kernel)
    else:
        layer = Conv(
            out_channels=kernel.array.shape[0],
            kernel_size=kernel.array.shape[2:],
            stride=tuple(call["window_strides"]),
            padding=_pairs(call["padding"]),
            dilation=dilation,
            groups=call["feature_group_count"],
            bias=False,
        )
        made = call.add(layer, x, weight=kernel)
    return call.draft.moved(made, inverse(numbers.out_spec))


def _pairs(padding: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    if any(size < 0 for pair in padding for size in pair):
        raise UnreadFormError("a negative padding crops: slice instead")
    return tuple((int(low), int(high)) for low, high in padding)


def _transposed(call: JaxCall, x: Drafted, kernel: FixedArray) -> Drafted:
    if any(stride != 1 for stride in call["window_strides"]) or call["feature_group_count"] != 1:
        raise UnreadFormError("a transposed convolution with strides or groups")
    axes = tuple(range(2, kernel.array.ndim))
    spans = [d * (k - 1) for d, k in zip(call["rhs_dilation"], kernel.array.shape[2:], strict=True)]
    borders = [(span - low, span - high) for span, (low, high) in zip(spans, call["padding"], strict=True)]
    if any(low < 0 for low, _ in borders):
        raise UnreadFormError("a transposed convolution with padding beyond its kernel")
    layer = ConvTranspose(
        out_channels=kernel.array.shape[0],
        kernel_size=kernel.array.shape[2:],
        stride=tuple(call["lhs_dilation"]),
        padding=tuple((low, max(high, 0)) for low, high in borders),
        output_padding=tuple(max(-high, 0) for _, high in borders),
        dilation=tuple(call["rhs_dilation"]),
        bias=False,
    )
    turned = FixedArray(np.flip(kernel.array, axes).swapaxes(0, 1), kernel.name)
    return call.add(layer, x, weight=turned)


@reads("reduce_window_max")
def max_pool(call: JaxCall) -> Drafted:
    """Along any axes but one, which holds the channels."""
    return _pooled(call, dilated=True)


@reads("reduce_window_sum")
def sum_pool(call: JaxCall) -> Drafted:
    """A mean with a divisor of 1, until a division follows."""
    return _pooled(call, dilated=False)


def _pooled(call: JaxCall, *, dilated: bool) -> Drafted:
    x, window, rank = call.value(0), call["window_dimensions"], len(call.shape)
    if any(n != 1 for n in call["base_dilation"]) or (not dilated and any(n != 1 for n in call["window_dilation"])):
        raise UnreadFormError("a dilated pool")
    still = [
        axis
        for axis in range(rank)
        if window[axis] == call["window_strides"][axis] == 1 and tuple(call["padding"][axis]) == (0, 0)
    ]
    if 0 not in still or len(still) < 2 or rank < 3:
        raise UnreadFormError("windows over the images, or over every other axis")
    channel = still[1] if still[1] == 1 else still[-1]
    order = (0, channel, *(axis for axis in range(1, rank) if axis != channel))
    fields: dict[str, Any] = {
        "kernel_size": tuple(window[axis] for axis in order[2:]),
        "stride": tuple(call["window_strides"][axis] for axis in order[2:]),
        "padding": _pairs([call["padding"][axis] for axis in order[2:]]),
    }
    if dilated:
        layer: Any = MaxPool(**fields, dilation=tuple(call["window_dilation"][axis] for axis in order[2:]))
    else:
        layer = AvgPool(**fields, divisor=1)
    return call.draft.moved(call.add(layer, call.draft.moved(x, order)), inverse(order))


def window_counts(pool: Drafted) -> np.ndarray:
    """How many positions of the image each window of a pool holds, by its spatial axes.

    Args:
        pool: A pool with channels first.
    """
    layer, counts = pool.layer, np.ones(())
    for size, many, k, s, (low, _) in zip(
        pool.inputs[0].shape[2:], pool.shape[2:], layer.kernel_size, layer.stride, layer.padding, strict=True
    ):
        starts = np.arange(many) * s - low
        counts = np.multiply.outer(counts, np.minimum(starts + k, size) - np.maximum(starts, 0))
    return counts


def sum_pool_behind(x: Drafted) -> tuple[Drafted, tuple[int, ...]] | None:
    """The sum over windows that a value is, with the order of axes behind it; None where it is none."""
    inner, order = behind_order(x)
    found = inner.kind == "avg_pool" and inner.layer.divisor == 1 and math.prod(inner.layer.kernel_size) > 1
    return (inner, order) if found else None
