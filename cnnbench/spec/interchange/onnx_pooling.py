"""Importers of pooling."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.interchange.onnx_windows import Windows, windows
from cnnbench.spec.layers import Add, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, Pad, Shape
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.max_positions import MaxPoolPositions
from cnnbench.spec.layers.merge import Divide
from cnnbench.spec.layers.power_pooling import LpPool
from cnnbench.spec.layers.windows import PaddingPairs, require_pairs


@importer("MaxPool")
def max_pool(node: OnnxNode) -> list[Result]:
    """MaxPool, with the positions of the maxima where they are read."""
    window = windows(node, node.attribute("kernel_shape"))
    fields: dict[str, Any] = {**window._asdict(), "ceil_mode": bool(node.attribute("ceil_mode", 0))}
    x = node.value(0)
    found: list[Result] = [node.add(MaxPool(**fields), x)]
    if any(node.outputs[1:]):
        order: Any = "columns" if node.attribute("storage_order", 0) else "rows"
        found.append(node.add(MaxPoolPositions(**fields, counted="tensor", order=order), x, part="positions"))
    return found


@importer("AveragePool")
def average_pool(node: OnnxNode) -> Value:
    """AveragePool."""
    window = windows(node, node.attribute("kernel_shape"))
    include = bool(node.attribute("count_include_pad", 0))
    ceil = bool(node.attribute("ceil_mode", 0))
    if any(d != 1 for d in window.dilation):
        return _dilated(node, include, ceil)
    fields: dict[str, Any] = {**window._asdict(), "ceil_mode": ceil, "count_include_pad": include}
    del fields["dilation"]
    return node.add(AvgPool(**fields), node.value(0))


@importer("LpPool")
def lp_pool(node: OnnxNode) -> Value:
    """LpPool."""
    window = windows(node, node.attribute("kernel_shape"))
    layer = LpPool(**window._asdict(), p=float(node.attribute("p", 2)), ceil_mode=bool(node.attribute("ceil_mode", 0)))
    return node.add(layer, node.value(0))


@importer("GlobalAveragePool")
def global_average_pool(node: OnnxNode) -> Value:
    """GlobalAveragePool, which keeps the spatial axes."""
    return node.add(GlobalAvgPool(keep_spatial=True), node.value(0))


@importer("GlobalMaxPool")
def global_max_pool(node: OnnxNode) -> Value:
    """GlobalMaxPool, which keeps the spatial axes."""
    return node.add(GlobalMaxPool(keep_spatial=True), node.value(0))


@importer("GlobalLpPool")
def global_lp_pool(node: OnnxNode) -> Value:
    """GlobalLpPool: one window that is the image."""
    x = node.value(0)
    return node.add(LpPool(kernel_size=x.shape[2:], p=float(node.attribute("p", 2))), x)


def _dilated(node: OnnxNode, include: bool, ceil: bool) -> Value:
    """Average pooling with dilation, which no layer has: the taps of the window as slices, added, over their number."""
    x = node.value(0)
    window = windows(node, node.attribute("kernel_shape"))
    spatial = x.shape[2:]
    outline = MaxPool(**window._asdict(), ceil_mode=ceil).resolve((x.shape,))
    sizes = outline.output_shapes((x.shape,))[0][2:]
    pads = require_pairs(outline.padding)
    axes = tuple(range(2, len(x.shape)))
    lasts = [(n - 1) * s + (k - 1) * d for n, k, s, d in zip(sizes, *window[:3], strict=True)]
    ends = [max(last + 1 - begin - n, 0) for last, (begin, _), n in zip(lasts, pads, spatial, strict=True)]
    padded = x
    if any(ends) or any(begin for begin, _ in pads):
        pairs = tuple((begin, end) for (begin, _), end in zip(pads, ends, strict=True))
        padded = node.add(Pad(padding=((0, 0), *pairs)), x, part="pad")
    taps = []
    for number, tap in enumerate(itertools.product(*(range(k) for k in window.kernel_size))):
        starts = tuple(t * d for t, d in zip(tap, window.dilation, strict=True))
        stops = tuple(a + (n - 1) * s + 1 for a, n, s in zip(starts, sizes, window.stride, strict=True))
        taken = Slice(starts=starts, ends=stops, steps=window.stride, axes=axes)
        taps.append(node.add(taken, padded, part=f"tap{number}"))
    total = node.add(Add(), *taps, part="sum") if len(taps) > 1 else taps[0]
    counts = _counts(window, spatial, sizes, pads, include)
    if counts.min() == counts.max():
        return node.add(Affine(scale=1 / float(counts.max())), total)
    return node.add(Divide(), total, node.parameter(counts[np.newaxis, np.newaxis], "counts"))


def _counts(window: Windows, spatial: Shape, sizes: Shape, pads: PaddingPairs, include: bool) -> Array:
    """How many positions of each window count: those of the input, with ``include`` those of its padding too."""
    counts = np.ones(())
    for axis, (n, size, (begin, end)) in enumerate(zip(spatial, sizes, pads, strict=True)):
        k, s, d = (numbers[axis] for numbers in window[:3])
        at = np.arange(size)[:, np.newaxis] * s - begin + np.arange(k) * d
        low, high = (-begin, n + end) if include else (0, n)
        counts = counts[..., np.newaxis] * np.sum((at >= low) & (at < high), axis=1)
    return counts.astype(np.float32)
