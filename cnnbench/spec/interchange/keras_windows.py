"""What Keras' convolutions, pools and other layers with positions compute, in layers of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.spec.composites import Upsample
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.keras_activations import activated
from cnnbench.spec.interchange.keras_builder import Construction, NotTranslatedError, Translation
from cnnbench.spec.interchange.keras_config import KerasLayer
from cnnbench.spec.layers import (
    AvgPool,
    Conv,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    Pad,
)
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.indexing import Slice


def _first(making: Construction, config: Mapping[str, Any], value: Value) -> Value:
    """The value with channels first."""
    return value if config.get("data_format") == "channels_first" else making.moved(value, -1, 1)


def _back(making: Construction, config: Mapping[str, Any], value: Value) -> Value:
    return value if config.get("data_format") == "channels_first" else making.moved(value, 1, -1)


def _tuple(found: Any, axes: int) -> tuple[int, ...]:
    return (found,) * axes if isinstance(found, int) else tuple(int(size) for size in found)


def _window(config: Mapping[str, Any], axes: int) -> dict[str, Any]:
    return {
        "kernel_size": _tuple(config["kernel_size"], axes),
        "stride": _tuple(config.get("strides", 1), axes),
        "dilation": _tuple(config.get("dilation_rate", 1), axes),
        "padding": "same" if config["padding"] == "same" else 0,
    }


def _conv(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config, value = layer.config, _first(making, layer.config, values[0])
    axes = len(value.shape) - 2
    window = _window(config, axes)
    if config["padding"] == "causal":
        window["padding"] = ((window["dilation"][0] * (window["kernel_size"][0] - 1), 0),)
    bias = bool(config.get("use_bias", True))
    if layer.cls.startswith("Depthwise"):
        channels = value.channels
        made = Conv(**window, out_channels=channels * config["depth_multiplier"], groups=channels, bias=bias)
    elif layer.cls.startswith("Separable"):
        channels = value.channels
        inner = Conv(**window, out_channels=channels * config["depth_multiplier"], groups=channels, bias=False)
        (value,) = making.weighted(f"{layer.name}.depthwise", inner, value)
        made = Conv(out_channels=config["filters"], kernel_size=(1,) * axes, bias=bias)
    else:
        made = Conv(**window, out_channels=config["filters"], groups=config.get("groups", 1), bias=bias)
    key = f"{layer.name}.pointwise" if layer.cls.startswith("Separable") else layer.name
    (value,) = making.weighted(key, made, value)
    return [activated(making, config, _back(making, config, value))]


def _conv_transpose(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config, value = layer.config, _first(making, layer.config, values[0])
    if config.get("output_padding") is not None:
        raise NotTranslatedError(f"{layer.name} ({layer.cls}): output_padding is not known here")
    window = _window(config, len(value.shape) - 2)
    more = [
        max(s - (d * (k - 1) + 1), 0) if window["padding"] == 0 else 0
        for k, s, d in zip(window["kernel_size"], window["stride"], window["dilation"], strict=True)
    ]
    made = ConvTranspose(
        **window, out_channels=config["filters"], output_padding=tuple(more), bias=bool(config.get("use_bias", True))
    )
    (value,) = making.weighted(layer.name, made, value)
    return [activated(making, config, _back(making, config, value))]


def _pool(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config, value = layer.config, _first(making, layer.config, values[0])
    axes = len(value.shape) - 2
    window: dict[str, Any] = {
        "kernel_size": _tuple(config["pool_size"], axes),
        "stride": _tuple(config["pool_size"] if config.get("strides") is None else config["strides"], axes),
        "padding": "same" if config["padding"] == "same" else 0,
    }
    made = MaxPool(**window) if layer.cls.startswith("Max") else AvgPool(**window, count_include_pad=False)
    return [_back(making, config, making.plain(made, value))]


def _global_pool(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config, value = layer.config, _first(making, layer.config, values[0])
    kept = bool(config.get("keepdims"))
    kind = GlobalMaxPool if "Max" in layer.cls else GlobalAvgPool
    value = making.plain(kind(keep_spatial=kept), value)
    return [_back(making, config, value) if kept else value]


def _borders(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config, value = layer.config, _first(making, layer.config, values[0])
    axes = len(value.shape) - 2
    given = config["padding" if "Padding" in layer.cls else "cropping"]
    if axes == 1:
        pairs = [(given, given) if isinstance(given, int) else tuple(given)]
    else:
        each = (given,) * axes if isinstance(given, int) else given
        pairs = [(side, side) if isinstance(side, int) else tuple(side) for side in each]
    if "Padding" in layer.cls:
        value = making.plain(Pad(padding=((0, 0), *pairs)), value)
    else:
        ends = tuple(size - end for size, (_, end) in zip(value.shape[2:], pairs, strict=True))
        axis = tuple(range(2, axes + 2))
        value = making.plain(Slice(starts=tuple(pair[0] for pair in pairs), ends=ends, axes=axis), value)
    return [_back(making, config, value)]


def _upsampling(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config, value = layer.config, _first(making, layer.config, values[0])
    scale = tuple(float(size) for size in _tuple(config["size"], len(value.shape) - 2))
    mode = config.get("interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        raise NotTranslatedError(f"{layer.name} ({layer.cls}): interpolation {mode} is not known here")
    made = Upsample(scale=scale, mode="nearest" if mode == "nearest" else "linear")
    return [_back(making, config, making.plain(made, value))]


WINDOWS: Mapping[str, Translation] = {
    r"(Depthwise|Separable)?Conv(olution)?[123]D": _conv,
    r"Conv(olution)?[123]DTranspose": _conv_transpose,
    r"(Max|Average)Pool(ing)?[123]D": _pool,
    r"Global(Max|Average)Pool(ing)?[123]D": _global_pool,
    r"(ZeroPadding|Cropping)[123]D": _borders,
    r"UpSampling[123]D": _upsampling,
}
