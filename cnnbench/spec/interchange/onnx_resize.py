"""Importers of resizing."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_crop import crop_and_resize
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_shape import positive, reshaped
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.resize import COORDINATES, Resize
from cnnbench.spec.layers.shape import Transpose


@importer("Upsample")
def upsample(node: OnnxNode) -> Value:
    """Upsample, which opset 10 replaced by Resize: coordinates i / s, rounded down."""
    fields: dict[str, Any] = {"mode": node.attribute("mode", "nearest"), "coordinates": "asymmetric"}
    fields["nearest_rounding"] = "floor"
    scales = tuple(float(s) for s in node.static(1, "the scales"))
    return _over_axes(node, tuple(range(len(scales))), None, scales, fields)


@importer("Resize")
def resize(node: OnnxNode) -> Value:
    """Resize over some axes, by scales or sizes."""
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
        return crop_and_resize(node, axes, _sizes(node, axes), fields)
    if coordinates not in COORDINATES:
        raise node.reject(
            "the coordinates are not imported", received=coordinates, expected=f"one of {', '.join(COORDINATES)}"
        )
    fields["coordinates"] = coordinates
    if _has_scales(node):
        return _over_axes(node, axes, None, tuple(float(s) for s in node.static(2, "the scales")), fields)
    return _over_axes(node, axes, _sizes(node, axes), None, fields)


def _has_scales(node: OnnxNode) -> bool:
    return node.has(2) and node.static(2, "the scales").size > 0


def _sizes(node: OnnxNode, axes: Shape) -> Shape:
    """The output's size along each of the axes."""
    own = tuple(node.shape(0)[axis] for axis in axes)
    if _has_scales(node):
        return tuple(math.floor(size * float(s)) for size, s in zip(own, node.static(2, "the scales"), strict=True))
    sizes = node.ints(3, "the sizes")
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return sizes
    ratios = [size / n for size, n in zip(sizes, own, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return tuple(math.floor(scale * n + 0.5) for n in own)


def _over_axes(
    node: OnnxNode, axes: Shape, sizes: Shape | None, scales: tuple[float, ...] | None, fields: dict[str, Any]
) -> Value:
    """A resize of the axes after the first two. Others are moved there and back."""
    x = node.value(0)
    rank = len(x.shape)
    asked: dict[int, float] = dict(zip(axes, sizes or scales or (), strict=True))
    own: dict[int, float] = {axis: x.shape[axis] if sizes is not None else 1.0 for axis in range(rank)}
    moved = [axis for axis in range(rank) if asked.get(axis, own[axis]) != own[axis]]
    if not moved:
        moved = [rank - 1]
    whole = all(axis >= 2 for axis in moved) and 3 <= rank <= 5
    if whole:
        return node.add(_layer(x.shape, list(range(2, rank)), asked, own, sizes is not None, fields), x)
    if len(moved) > 3:
        raise node.reject("more than three axes are resized", received=moved, expected="at most three")
    rest = [axis for axis in range(rank) if axis not in moved]
    order = (*rest, *moved)
    turned = node.add(Transpose(permutation=order), x, part="turned")
    flat = (1, math.prod(x.shape[axis] for axis in rest), *(x.shape[axis] for axis in moved))
    image = reshaped(node, turned, flat, "image")
    layer = _layer(x.shape, moved, asked, own, sizes is not None, fields)
    y = node.add(layer, image, part="resized")
    y = reshaped(node, y, (*(x.shape[axis] for axis in rest), *y.shape[2:]), "unfolded")
    return node.add(Transpose(permutation=tuple(order.index(axis) for axis in range(rank))), y)


def _layer(
    shape: Shape, axes: list[int], asked: dict[int, float], own: dict[int, float], by_size: bool, fields: dict[str, Any]
) -> Resize:
    numbers = [asked.get(axis, own[axis]) for axis in axes]
    if by_size:
        return Resize(size=tuple(int(n) for n in numbers), **fields)
    return Resize(scale=tuple(numbers), **fields)
