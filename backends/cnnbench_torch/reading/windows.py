"""Convolutions, pools, paddings and resizing, as ``torch.export`` writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cnnbench.spec.composites import Upsample
from cnnbench.spec.graph import Value
from cnnbench.spec.layers import (
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    Pad,
)
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.padding import PadMode
from cnnbench.spec.layers.rearrange import ChannelShuffle, DepthToSpace, SpaceToDepth
from cnnbench.spec.layers.resize import Resize
from cnnbench_torch.reading.call import AtenCall, NotReadError, reads

_MODES: dict[str, PadMode] = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _axes(found: Any, count: int) -> tuple[int, ...]:
    numbers = (found,) if isinstance(found, int) else tuple(found)
    return numbers * count if len(numbers) == 1 else numbers


def _pairs(found: Any, count: int) -> tuple[tuple[int, int], ...]:
    return tuple((size, size) for size in _axes(found, count))


def _image(call: AtenCall) -> tuple[Value, int]:
    name = "self" if "self" in call.arguments else "input"
    value = call.value(name)
    return value, len(value.shape) - 2


@reads("conv1d", "conv2d", "conv3d", "convolution")
def conv(call: AtenCall) -> Value:
    """``padding`` may be a word."""
    x, count = _image(call)
    weight, bias = call.weight("weight"), call.weight("bias")
    if weight is None:
        raise NotReadError("it has no weight")
    if call.arguments.get("transposed"):
        return conv_transpose(call)
    padding = call["padding"]
    layer = Conv(
        out_channels=weight.tensor.shape[0],
        kernel_size=tuple(weight.tensor.shape[2:]),
        stride=_axes(call["stride"], count),
        padding=padding if isinstance(padding, str) else _pairs(padding, count),
        dilation=_axes(call["dilation"], count),
        groups=call["groups"],
        bias=bias is not None,
    )
    return call.weighted(layer, x, weight=weight, bias=bias)


@reads("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(call: AtenCall) -> Value:
    """The weight has the input's channels first, as here."""
    x, count = _image(call)
    weight, bias = call.weight("weight"), call.weight("bias")
    if weight is None:
        raise NotReadError("it has no weight")
    layer = ConvTranspose(
        out_channels=weight.tensor.shape[1] * call["groups"],
        kernel_size=tuple(weight.tensor.shape[2:]),
        stride=_axes(call["stride"], count),
        padding=_pairs(call["padding"], count),
        output_padding=_axes(call["output_padding"], count),
        dilation=_axes(call["dilation"], count),
        groups=call["groups"],
        bias=bias is not None,
    )
    return call.weighted(layer, x, weight=weight, bias=bias)


@reads("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(call: AtenCall) -> Value:
    """An empty stride is the window's size."""
    x, count = _image(call)
    layer = MaxPool(
        kernel_size=_axes(call["kernel_size"], count),
        stride=_axes(call["stride"], count) if call["stride"] else None,
        padding=_pairs(call["padding"], count),
        dilation=_axes(call["dilation"], count),
        ceil_mode=call["ceil_mode"],
    )
    return call.add(layer, x)


@reads("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(call: AtenCall) -> Value:
    """An empty stride is the window's size."""
    x, count = _image(call)
    layer = AvgPool(
        kernel_size=_axes(call["kernel_size"], count),
        stride=_axes(call["stride"], count) if call["stride"] else None,
        padding=_pairs(call["padding"], count),
        ceil_mode=call["ceil_mode"],
        count_include_pad=call["count_include_pad"],
        divisor=call.arguments.get("divisor_override"),
    )
    return call.add(layer, x)


@reads("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def adaptive_avg_pool(call: AtenCall) -> Value:
    """To one position it is the global mean."""
    x, count = _image(call)
    size = _axes(call["output_size"], count)
    if set(size) == {1}:
        return call.add(GlobalAvgPool(keep_spatial=True), x)
    return call.add(AdaptiveAvgPool(output_size=size), x)


@reads("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(call: AtenCall) -> tuple[Value, None]:
    """To one position only."""
    x, count = _image(call)
    if set(_axes(call["output_size"], count)) != {1}:
        raise NotReadError(f"adaptive maximum to {call['output_size']}: only to one position is read")
    return call.add(GlobalMaxPool(keep_spatial=True), x), None


@reads("pad", "constant_pad_nd")
def pad(call: AtenCall) -> Value:
    """PyTorch names the last axis first."""
    mode = _MODES[call.arguments.get("mode") or "constant"]
    return _padded(call, call["pad"], mode, float(call.arguments.get("value") or 0.0))


@reads("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflection_pad(call: AtenCall) -> Value:
    """Mirrored at the centre of the border's elements."""
    return _padded(call, call["padding"], "reflect", 0.0)


@reads("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replication_pad(call: AtenCall) -> Value:
    """The border's elements again."""
    return _padded(call, call["padding"], "edge", 0.0)


def _padded(call: AtenCall, given: Sequence[int], mode: PadMode, value: float) -> Value:
    x = call.value("self" if "self" in call.arguments else "input")
    pairs = [(0, 0)] * len(x.shape)
    for i in range(len(given) // 2):
        pairs[-1 - i] = (given[2 * i], given[2 * i + 1])
    if pairs[0] != (0, 0):
        raise NotReadError("the batch is padded")
    axes = tuple(axis for axis, (low, high) in enumerate(pairs) if low < 0 or high < 0)
    if axes:
        if mode != "constant":
            raise NotReadError("a negative padding that mirrors or repeats: slice instead")
        starts = tuple(max(-pairs[axis][0], 0) for axis in axes)
        ends = tuple(x.shape[axis] + min(pairs[axis][1], 0) for axis in axes)
        x = call.add(Slice(starts=starts, ends=ends, axes=axes), x, part="crop")
    grown = tuple((max(low, 0), max(high, 0)) for low, high in pairs[1:])
    if not any(map(any, grown)):
        return x
    constant: Any = value if math.isfinite(value) else "inf" if value > 0 else "-inf"
    return call.add(Pad(padding=grown, mode=mode, value=constant), x)


@reads("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def nearest(call: AtenCall) -> Value:
    """PyTorch's own convention: coordinates from the corner, rounded down."""
    return _resized(call, Upsample(**_target(call), mode="nearest"))


@reads("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d")
def nearest_exact(call: AtenCall) -> Value:
    """From centres."""
    return _resized(call, Upsample(**_target(call), mode="nearest-exact"))


@reads("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
def linear(call: AtenCall) -> Value:
    """Between the neighbours along each axis."""
    return _resized(call, Upsample(**_target(call), mode="linear", align_corners=call["align_corners"]))


@reads("upsample_bicubic2d")
def bicubic(call: AtenCall) -> Value:
    """With PyTorch's coefficient of -0.75."""
    return _resized(call, Upsample(**_target(call), mode="bicubic", align_corners=call["align_corners"]))


@reads("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")
def antialiased(call: AtenCall) -> Value:
    """Widened for smaller images; cubic with a coefficient of -0.5."""
    if call["align_corners"]:
        raise NotReadError("antialias with align_corners")
    cubic = "bicubic" in call.op
    layer = Resize(**_target(call), mode="cubic" if cubic else "linear", cubic_coefficient=-0.5, antialias=True)
    return _resized(call, layer)


def _target(call: AtenCall) -> dict[str, Any]:
    if call.arguments.get("output_size") is not None:
        return {"size": tuple(call["output_size"])}
    return {"scale": tuple(float(factor) for factor in call["scale_factors"])}


def _resized(call: AtenCall, layer: Upsample | Resize) -> Value:
    return call.add(layer._resize() if isinstance(layer, Upsample) else layer, call.value("input"))


@reads("pixel_shuffle")
def pixel_shuffle(call: AtenCall) -> Value:
    """Channels to positions, channel by channel."""
    return call.add(DepthToSpace(block=call["upscale_factor"], order="CRD"), call.value("self"))


@reads("pixel_unshuffle")
def pixel_unshuffle(call: AtenCall) -> Value:
    """Positions to channels, channel by channel."""
    return call.add(SpaceToDepth(block=call["downscale_factor"], order="CRD"), call.value("self"))


@reads("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(call: AtenCall) -> Value:
    """Channels of groups one by one."""
    return call.add(ChannelShuffle(groups=call["groups"]), call.value("self"))
