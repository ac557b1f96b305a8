"""Importers whose coordinates depend on an operand: cropping while resizing, and grids of affine maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import is_open
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_shape import reshaped
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Add, Shape
from cnnbench.spec.layers.interpolation import Axis, matrix_of, taps_at
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.shape import Transpose


def crop_and_resize(node: OnnxNode, axes: Shape, sizes: Shape, fields: dict[str, Any]) -> Value:
    """Resize with ``tf_crop_and_resize``: each of the axes times a matrix that holds the region and the interpolation.

    t(i) = b (n - 1) + i (e - b) (n - 1) / (m - 1) for a region from b to e of the axis; half-way between where m is 1.
    What lies outside the image has the value ``extrapolation_value``.

    Args:
        node: The Resize; its input 1 holds the region's begins and then its ends, as shares of the axes.
        axes: Those that are resized.
        sizes: The size m of each afterwards.
        fields: Those of ``Axis`` that say how values are interpolated.
    """
    x = node.value(0)
    rank = len(x.shape)
    region = node.static(1, "the region").reshape(2, -1)
    outside = node.attribute("extrapolation_value", 0.0)
    covered: Array = np.ones((1,) * rank, np.float32)
    for count, (axis, out, begin, end) in enumerate(zip(axes, sizes, *region, strict=True)):
        if out == x.shape[axis] and (begin, end) == (0, 1):
            continue
        if is_open(x.shape[axis]):
            raise node.reject(
                "the batch is not resized",
                received=f"{out} of {x.shape}",
                expected="its own size, region 0 to 1",
            )
        places = _places(x.shape[axis], out, float(begin), float(end))
        inside = (places >= 0) & (places <= x.shape[axis] - 1)
        scaled = Axis(size=x.shape[axis], out=out, scale=None, coordinates="asymmetric", **fields)
        matrix = matrix_of(taps_at(scaled, places), x.shape[axis]) * inside[:, None]
        x = _along(node, x, axis, matrix.astype(np.float32), str(count))
        covered = covered * inside.reshape([-1 if i == axis else 1 for i in range(rank)])
    if not outside or covered.all():
        return x
    filler = (outside * (1 - covered)).astype(np.float32)
    return node.add(Add(broadcast=True), x, node.parameter(filler, "outside"))


def _places(size: int, out: int, begin: float, end: float) -> Array:
    if out == 1:
        return np.asarray([0.5 * (begin + end) * (size - 1)])
    return begin * (size - 1) + np.arange(out) * (end - begin) * (size - 1) / (out - 1)


def _along(node: OnnxNode, x: Value, axis: int, matrix: Array, part: str) -> Value:
    """The matrix times the columns of ``x`` along an axis."""
    rank = len(x.shape)
    order = (*(i for i in range(rank) if i != axis), axis)
    turned = x if axis == rank - 1 else node.add(Transpose(permutation=order), x, part=f"turned{part}")
    y = node.add(MatMul(), turned, node.parameter(matrix.T, f"weights{part}"), part=f"resized{part}")
    if axis == rank - 1:
        return y
    return node.add(Transpose(permutation=tuple(order.index(i) for i in range(rank))), y, part=f"back{part}")


@importer("AffineGrid")
def affine_grid(node: OnnxNode) -> Value:
    """AffineGrid: theta times the coordinates of every position, which run from -1 to 1."""
    theta, size = node.value(0), node.ints(1, "the size")
    spatial = size[2:]
    corners = bool(node.attribute("align_corners", 0))
    lines = [np.linspace(-1, 1, n) if corners else (2 * np.arange(n) + 1) / n - 1 for n in spatial]
    mesh = np.meshgrid(*lines, indexing="ij")
    points = np.stack([*(line.reshape(-1) for line in reversed(mesh)), np.ones(math.prod(spatial))], axis=-1)
    places = node.parameter(points.astype(np.float32)[None], "places")
    grid = node.add(MatMul(transpose_b=True), places, theta, part="points")
    return reshaped(node, grid, (size[0], *spatial, len(spatial)))
