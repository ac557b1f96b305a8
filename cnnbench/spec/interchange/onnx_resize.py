"""Importers of resizing."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import is_open
from cnnbench.spec.interchange.onnx_crop import crop_and_resize
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_shape import positive, reshaped, with_batch
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.resize import COORDINATES, Resize
from cnnbench.spec.layers.shape import Transpose


class _Asked(NamedTuple):
    """What becomes of an axis: its new size, and the factor of its coordinates where that is not new over old size."""

    size: int
    scale: float | None = None


@importer("Upsample")
def upsample(node: OnnxNode) -> Value:
    """Upsample, which opset 10 replaced by Resize: coordinates i / s, rounded down."""
    return _asymmetric(node, node.static(1, "the scales"))


@importer("Resize")
def resize(node: OnnxNode) -> Value:
    """Resize over some axes, by scales or sizes. Version 10 had scales and the coordinates of Upsample only."""
    if node.version < 11:
        return _asymmetric(node, node.static(1, "the scales"))
    rank = len(node.shape(0))
    axes = tuple(positive(a, rank) for a in node.attribute("axes", tuple(range(rank))))
    coordinates = node.attribute("coordinate_transformation_mode", "half_pixel")
    fields: dict[str, Any] = {
        "mode": node.attribute("mode", "nearest"),
        "nearest_rounding": node.attribute("nearest_mode", "round_prefer_floor"),
        "cubic_coefficient": node.attribute("cubic_coeff_a", -0.75),
        "exclude_outside": bool(node.attribute("exclude_outside", 0)),
        "antialias": bool(node.attribute("antialias", 0)),
    }
    if coordinates == "tf_crop_and_resize":
        return crop_and_resize(node, axes, tuple(asked.size for asked in _asked(node, axes)), fields)
    rounding = _HALF_PIXEL_FOR_NEAREST.get(fields["nearest_rounding"])
    if coordinates == "tf_half_pixel_for_nn" and fields["mode"] == "nearest" and rounding:  # in versions 11 and 12
        coordinates, fields["nearest_rounding"] = "half_pixel", rounding
    if coordinates not in COORDINATES:
        raise node.reject(
            "the coordinates are not imported", received=coordinates, expected=f"one of {', '.join(COORDINATES)}"
        )
    fields["coordinates"] = coordinates
    return _over_axes(node, node.value(0), dict(zip(axes, _asked(node, axes), strict=True)), fields)


# (i + 1/2) / s rounded is half_pixel's (i + 1/2) / s - 1/2 rounded otherwise
_HALF_PIXEL_FOR_NEAREST = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}


def _asymmetric(node: OnnxNode, scales: Array) -> Value:
    """Coordinates i / s; the nearest neighbour lies below where an axis grows, above where it shrinks.

    The operators' text does not say how to round. ONNX Runtime rounds so, and so do ONNX's own cases of the time.
    """
    x = node.value(0)
    fields: dict[str, Any] = {"mode": node.attribute("mode", "nearest"), "coordinates": "asymmetric"}
    asked = {axis: _scaled(size, scale) for axis, (size, scale) in enumerate(zip(x.shape, scales, strict=True))}
    shrinking = {axis: item for axis, item in asked.items() if scales[axis] < 1}
    growing = {axis: item for axis, item in asked.items() if scales[axis] > 1}
    if growing or not shrinking:
        part = "grown" if shrinking else ""
        x = _over_axes(node, x, growing, {**fields, "nearest_rounding": "floor"}, part)
    return _over_axes(node, x, shrinking, {**fields, "nearest_rounding": "ceil"}) if shrinking else x


def _scaled(size: int, scale: float) -> _Asked:
    """floor(size scale) in single precision, as runtimes compute it: 10 times 0.7 is 7, not 6.9999999.

    For coordinates the scale is the shortest decimal that the file's number stands for, so that what lies half-way
    does so.
    """
    if scale == 1:
        return _Asked(size)
    return _Asked(int(np.floor(np.float32(size) * np.float32(scale))), float(str(np.float32(scale))))


def _asked(node: OnnxNode, axes: Shape) -> list[_Asked]:
    """What becomes of each of the axes."""
    x = node.value(0)
    own = [x.shape[axis] for axis in axes]
    if node.has(2) and node.static(2, "the scales").size:
        return [_scaled(size, scale) for size, scale in zip(own, node.static(2, "the scales"), strict=True)]
    sizes = node.ints(3, "the sizes")
    if axes[0] == 0:
        sizes = with_batch(node, x, sizes)
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return [_Asked(size) for size in sizes]
    ratios = [1.0 if size == n else size / n for size, n in zip(sizes, own, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [_Asked(n) if scale == 1 else _Asked(math.floor(scale * n + 0.5), scale) for n in own]


def _over_axes(node: OnnxNode, x: Value, asked: dict[int, _Asked], fields: dict[str, Any], part: str = "") -> Value:
    """A resize of the axes after the first two. Others are moved there and back."""
    rank = len(x.shape)
    moved = [axis for axis, item in asked.items() if item.size != x.shape[axis] or item.scale not in (None, 1.0)]
    moved = sorted(moved) or [rank - 1]
    if all(axis >= 2 for axis in moved) and 3 <= rank <= 5:
        return node.add(_layer(x.shape, list(range(2, rank)), asked, fields), x, part=part)
    if len(moved) > 3 or any(is_open(x.shape[axis]) for axis in moved):
        raise node.reject(
            "these axes are not resized", received=f"{moved} of {x.shape}", expected="at most three, without the batch"
        )
    rest = [axis for axis in range(rank) if axis not in moved]
    order = (*rest, *moved)
    turned = node.add(Transpose(permutation=order), x, part=f"{part}turned")
    flat = (1, math.prod(x.shape[axis] for axis in rest), *(x.shape[axis] for axis in moved))
    image = reshaped(node, turned, flat, f"{part}image")
    y = node.add(_layer(x.shape, moved, asked, fields), image, part=f"{part}resized")
    y = reshaped(node, y, (*(x.shape[axis] for axis in rest), *y.shape[2:]), f"{part}unfolded")
    return node.add(Transpose(permutation=tuple(order.index(axis) for axis in range(rank))), y, part=part)


def _layer(shape: Shape, axes: list[int], asked: dict[int, _Asked], fields: dict[str, Any]) -> Resize:
    """By sizes or by scales, and by both where a size is not what its scale gives."""
    items = [asked.get(axis, _Asked(shape[axis])) for axis in axes]
    sizes = tuple(item.size for item in items)
    if all(item.scale is None for item in items):
        return Resize(size=sizes, **fields)
    scales = tuple(
        item.size / shape[axis] if item.scale is None else item.scale for axis, item in zip(axes, items, strict=True)
    )
    plain = tuple(math.floor(shape[axis] * scale) for axis, scale in zip(axes, scales, strict=True))
    return Resize(size=None if plain == sizes else sizes, scale=scales, **fields)
