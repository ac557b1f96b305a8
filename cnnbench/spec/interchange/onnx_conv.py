"""Importers of convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.interchange.onnx_shape import reshaped
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.interchange.onnx_windows import windows
from cnnbench.spec.layers import Concat, Conv, Pad, Shape
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.smooth import SiLU
from cnnbench.spec.layers.windows import effective_size, output_sizes, require_pairs, resolve_padding


def _arrays(node: OnnxNode) -> dict[str, Array]:
    """The weight and, where there is one, the bias."""
    arrays = {"weight": node.static(1, "the weight")}
    if node.has(2):
        arrays["bias"] = node.static(2, "the bias")
    return arrays


@importer("Conv")
def conv(node: OnnxNode) -> Value:
    """Conv, whose weight has our layout."""
    x, arrays = node.value(0), _arrays(node)
    weight = arrays["weight"]
    window = windows(node, tuple(weight.shape[2:]))
    layer = Conv(
        out_channels=weight.shape[0],
        kernel_size=window.kernel_size,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        groups=node.attribute("group", 1),
        bias="bias" in arrays,
    )
    return node.add(layer, x, arrays=arrays)


@importer("ConvTranspose")
def conv_transpose(node: OnnxNode) -> Value:
    """ConvTranspose, whose weight has our layout; ``output_shape`` is turned into padding."""
    x, arrays = node.value(0), _arrays(node)
    weight = arrays["weight"]
    kernel = tuple(weight.shape[2:])
    groups = node.attribute("group", 1)
    window = windows(node, kernel)
    extra = node.attribute("output_padding", (0,) * len(kernel))
    fields: dict[str, Any] = {"padding": window.padding, "output_padding": extra}
    wanted = node.attribute("output_shape")
    if wanted is None and window.padding in ("same", "same_lower"):
        wanted = tuple(size * stride for size, stride in zip(x.shape[2:], window.stride, strict=True))
    if wanted is not None:
        fields = _padding_for(node, wanted[-len(kernel) :], x.shape[2:], extra)
    layer = ConvTranspose(
        out_channels=weight.shape[1] * groups,
        kernel_size=kernel,
        stride=window.stride,
        dilation=window.dilation,
        groups=groups,
        bias="bias" in arrays,
        **fields,
    )
    return node.add(layer, x, arrays=arrays)


def _padding_for(node: OnnxNode, wanted: Shape, spatial: Shape, extra: Shape) -> dict[str, Any]:
    """The padding that gives an output of the wanted size.

    total = s (size - 1) + output_padding + d (k - 1) + 1 - wanted. Of an odd total the larger half is at the end for
    SAME_UPPER and at the beginning otherwise. Where the total is negative, zeros follow the output.
    """
    window = windows(node, tuple(node.static(1, "the weight").shape[2:]))
    pairs, missing = [], []
    for i, size in enumerate(spatial):
        full = (size - 1) * window.stride[i] + effective_size(window.kernel_size[i], window.dilation[i])
        total = full + extra[i] - wanted[i]
        small, large = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        upper = node.attribute("auto_pad", "NOTSET") == "SAME_UPPER"
        pairs.append((small, large) if upper else (large, small))
        missing.append(extra[i] + max(-total, 0))
    return {"padding": tuple(pairs), "output_padding": tuple(missing)}


@importer("CausalConvWithState")
def causal_conv(node: OnnxNode) -> list[Result]:
    """A depthwise convolution over what came before and the input, and the last of both as the next state."""
    x, arrays = node.value(0), _arrays(node)
    channels, _, size = arrays["weight"].shape
    if node.has(3):
        whole = node.add(Concat(axis=2), node.value(3), x, part="whole") if size > 1 else x
    else:
        whole = node.add(Pad(padding=((0, 0), (size - 1, 0))), x, part="whole")
    layer = Conv(out_channels=channels, kernel_size=size, groups=channels, bias="bias" in arrays)
    y = node.add(layer, whole, arrays=arrays)
    if node.attribute("activation", "none") in ("silu", "swish"):
        y = node.add(SiLU(), y, part="activation")
    if len(node.outputs) < 2 or not node.outputs[1]:
        return [y]
    if size == 1:
        return [y, np.zeros((*x.shape[:2], 0), np.float32)]
    start = whole.shape[2] - size + 1
    return [y, node.add(Slice(starts=(start,), ends=(None,), axes=(2,)), whole, part="state")]


@importer("Col2Im")
def col2im(node: OnnxNode) -> Value:
    """Col2Im: overlapping blocks laid onto an image and added, which is a transposed convolution with fixed kernels."""
    x, spatial, block = node.value(0), node.ints(1, "the image's shape"), node.ints(2, "the block's shape")
    window = windows(node, block)
    taps = math.prod(block)
    channels = x.shape[1] // taps
    pairs = require_pairs(resolve_padding(window.padding, spatial, *window[:3]))
    counts = output_sizes(spatial, *window[:3], pairs)
    image = reshaped(node, x, (x.shape[0], x.shape[1], *counts), "blocks")
    ends = [(n - 1) * s + effective_size(k, d) for n, k, s, d in zip(counts, *window[:3], strict=True)]
    missing = tuple(n + a + b - end for n, (a, b), end in zip(spatial, pairs, ends, strict=True))
    layer = ConvTranspose(
        out_channels=channels,
        kernel_size=block,
        stride=window.stride,
        dilation=window.dilation,
        padding=pairs,
        output_padding=missing,
        groups=channels,
        bias=False,
    )
    places = np.eye(taps, dtype=np.float32).reshape(taps, 1, *block)
    return node.add(layer, image, arrays={"weight": np.tile(places, (channels, *(1,) * (places.ndim - 1)))})
