"""Pooling: windows that are rounded up become windows with explicit padding, which every reader takes alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from cnnbench.spec.interchange.to_onnx.activation import scaled
from cnnbench.spec.interchange.to_onnx.conv import pads
from cnnbench.spec.interchange.to_onnx.writer import Array, NodeWriter, exporter
from cnnbench.spec.layers.windows import require_pairs

Pairs = tuple[tuple[int, int], ...]


def exact_padding(node: NodeWriter) -> Pairs:
    """Padding with which windows that are rounded down are those of the layer."""
    layer = node.layer
    window, outs = layer.window(), node.output_shapes[0][2:]
    found = []
    for axis, (begin, end) in enumerate(require_pairs(layer.padding)):
        k, s, d = (numbers[axis] for numbers in window)
        needed = (outs[axis] - 1) * s + d * (k - 1) + 1 - node.shapes[0][2 + axis] - begin
        found.append((begin, max(needed, 0) if layer.ceil_mode else end))
    return tuple(found)


def pooled(node: NodeWriter, operator: str, x: str, padding: Pairs, *, outputs: int = 1, **attributes: int) -> str:
    """A pooling operator with the layer's windows.

    Args:
        node: Being written.
        operator: MaxPool or AveragePool.
        x: What is pooled.
        padding: Pairs for each axis.
        outputs: How many it has.
        attributes: Further ones.
    """
    window = node.layer.window()
    given = {"kernel_shape": list(window.kernel_size), "strides": list(window.stride), "pads": pads(padding)}
    if any(d != 1 for d in window.dilation):
        given["dilations"] = list(window.dilation)
    return node.op(operator, x, outputs=outputs, **given, **attributes)


@exporter("max_pool")
def max_pool(node: NodeWriter) -> list[str]:
    """MaxPool."""
    return [pooled(node, "MaxPool", node.x, exact_padding(node))]


@exporter("min_pool")
def min_pool(node: NodeWriter) -> list[str]:
    """-MaxPool(-x)."""
    return [node.op("Neg", pooled(node, "MaxPool", node.op("Neg", node.x), exact_padding(node)))]


@exporter("max_pool_positions")
def max_pool_positions(node: NodeWriter) -> list[str]:
    """The second output of MaxPool, which counts within the whole tensor."""
    layer = node.layer
    order = 1 if layer.order == "columns" else 0
    name = pooled(node, "MaxPool", node.x, exact_padding(node), outputs=2, storage_order=order)
    if layer.counted == "tensor":
        return [f"{name}#1"]
    return [node.op("Mod", f"{name}#1", node.constant(math.prod(node.shapes[0][2:]), "positions"))]


@exporter("avg_pool")
def avg_pool(node: NodeWriter) -> list[str]:
    """AveragePool; a divisor of another kind than ONNX's is multiplied in."""
    layer = node.layer
    padding = exact_padding(node)
    if layer.divisor is None and not layer.count_include_pad:
        return [pooled(node, "AveragePool", node.x, padding, count_include_pad=0)]
    mean = pooled(node, "AveragePool", node.x, padding, count_include_pad=1)
    size = math.prod(layer.window().kernel_size)
    if layer.divisor is not None:
        return [scaled(node, mean, size / layer.divisor)]
    counted = _counts(node, [begin + n + end for (begin, end), n in _with_sizes(node)])
    if (counted == size).all():
        return [mean]
    return [node.op("Mul", mean, node.constant(size / counted, "share"))]


def _with_sizes(node: NodeWriter) -> list[tuple[tuple[int, int], int]]:
    return list(zip(require_pairs(node.layer.padding), node.shapes[0][2:], strict=True))


def _counts(node: NodeWriter, lengths: Sequence[int]) -> Array:
    """How many positions of each window lie within the padded image: (1, 1, *out)."""
    window, outs = node.layer.window(), node.output_shapes[0][2:]
    counts = np.ones((1, 1))
    for axis, length in enumerate(lengths):
        k, s, d = (numbers[axis] for numbers in window)
        inside = np.array([sum(i * s + tap * d < length for tap in range(k)) for i in range(outs[axis])], float)
        counts = counts[..., np.newaxis] * inside
    return counts


@exporter("lp_pool")
def lp_pool(node: NodeWriter) -> list[str]:
    """(k mean |x|^p)^(1/p), the mean over the window and its padding."""
    layer = node.layer
    power = node.op("Abs", node.x) if layer.by_magnitude else node.x
    power = node.op("Pow", power, node.constant(float(layer.p), "p"))
    size = math.prod(layer.window().kernel_size)
    total = scaled(node, pooled(node, "AveragePool", power, exact_padding(node), count_include_pad=1), size)
    if layer.rescale_partial:
        scales = np.ones((1, 1))
        for axis in layer.partial_scales(node.shapes[0][2:]):
            scales = scales[..., np.newaxis] * np.array(axis)
        total = node.op("Mul", total, node.constant(scales, "scales"))
    return [node.op("Pow", total, node.constant(1 / layer.p, "root"))]


@exporter("global_avg_pool", "global_max_pool")
def global_pool(node: NodeWriter) -> list[str]:
    """GlobalAveragePool and GlobalMaxPool; without spatial axes if the layer drops them."""
    operator = {"global_avg_pool": "GlobalAveragePool", "global_max_pool": "GlobalMaxPool"}[node.layer.kind]
    found = node.op(operator, node.x)
    return [found if node.layer.keep_spatial else node.op("Flatten", found, axis=1)]


@exporter("adaptive_avg_pool")
def adaptive_avg_pool(node: NodeWriter) -> list[str]:
    """AveragePool where windows are alike; else a product with the averages of each axis."""
    sizes, outs = node.shapes[0][2:], node.output_shapes[0][2:]
    if all(size % out == 0 for size, out in zip(sizes, outs, strict=True)):
        window = [size // out for size, out in zip(sizes, outs, strict=True)]
        return [node.op("AveragePool", node.x, kernel_shape=window, strides=window)]
    value = node.x
    for axis, (size, out) in enumerate(zip(sizes, outs, strict=True), 2):
        matrix = np.zeros((size, out))
        for i in range(out):
            begin, end = i * size // out, -(-(i + 1) * size // out)
            matrix[begin:end, i] = 1 / (end - begin)
        value = along(node, value, axis, matrix)
    return [value]


def along(node: NodeWriter, value: str, axis: int, matrix: Array) -> str:
    """The product of an axis with a matrix (size, out).

    Args:
        node: Being written.
        value: Of the first input's rank.
        axis: Which is multiplied.
        matrix: The factors.
    """
    swapped = [axis if i == node.rank - 1 else node.rank - 1 if i == axis else i for i in range(node.rank)]
    is_last = axis == node.rank - 1
    turned = value if is_last else node.op("Transpose", value, perm=swapped)
    product = node.op("MatMul", turned, node.constant(matrix, "matrix"))
    return product if is_last else node.op("Transpose", product, perm=swapped)


@exporter("subsample")
def subsample(node: NodeWriter) -> list[str]:
    """Slice with steps."""
    strides = node.layer.strides()
    count = len(strides)
    axes = list(itertools.islice(itertools.count(2), count))
    operands = [node.constant(item, "slice") for item in ([0] * count, [2**31 - 1] * count, axes, list(strides))]
    return [node.op("Slice", node.x, *operands)]
