"""Importers of operators that give values another shape: reshape, transpose, flatten, pad and their kin."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.spec.composites.indexing import CenterCropPad
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import NUM, is_open, multiple_of_batch
from cnnbench.spec.interchange.onnx_constants import reshape_layer
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.padding import Pad
from cnnbench.spec.layers.rearrange import DepthToSpace, SpaceToDepth
from cnnbench.spec.layers.shape import Flatten, Transpose, Unsqueeze


def reshaped(node: OnnxNode, x: Value, target: Shape, part: str = "") -> Value:
    """``x`` in another shape, whose sizes may depend on the batch.

    Args:
        node: Where the layer belongs.
        x: Any shape.
        target: The other shape, of as many elements, the batch axis included.
        part: As in ``OnnxNode.add``.
    """
    if math.prod(x.shape) != math.prod(target):
        raise node.reject(
            "the shape does not hold as many values as the input",
            received=f"{target} for {x.shape}",
            expected=f"sizes whose product is {math.prod(x.shape)}",
        )
    return node.add(reshape_layer(x.shape, target), x, part=part)


def raised(node: OnnxNode, x: Value, rank: int, part: str) -> Value:
    """``x`` with leading axes of size 1 up to ``rank``, as broadcasting has it.

    Args:
        node: Where the layer belongs.
        x: Any shape.
        rank: The rank that is wanted; one of as many axes or more stays as it is.
        part: As in ``OnnxNode.add``.
    """
    missing = rank - len(x.shape)
    return node.add(Unsqueeze(axes=tuple(range(missing))), x, part=part) if missing > 0 else x


def lifted(node: OnnxNode, x: Value, part: str = "lifted") -> Value:
    """``x`` with an axis of size 1 in front, for layers that leave the first axis alone.

    Args:
        node: Where the layer belongs.
        x: Any shape S; the result is (1, *S).
        part: As in ``OnnxNode.add``.
    """
    return node.add(Unsqueeze(axes=(0,)), x, part=part)


def lowered(node: OnnxNode, x: Value) -> Value:
    """``x`` without the axis that ``lifted`` put in front."""
    return reshaped(node, x, x.shape[1:])


def with_batch(node: OnnxNode, x: Value, sizes: Shape) -> Shape:
    """Sizes in which the batch that the model fixes is open again: the first, where it is that number.

    A reshape, or its like, of a value whose first axis runs over the images keeps their order in memory. So where its
    first size is the batch that the model fixes, it is the batch, whatever that is.

    Args:
        node: Which states the sizes.
        x: What it reads.
        sizes: As stated.
    """
    stated = node.stated_batch
    images = x.shape and multiple_of_batch(x.shape[0])
    if stated is None or not images or sizes[:1] != (stated,) or any(map(is_open, sizes)):
        return sizes
    return (NUM, *sizes[1:])


def positive(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


@importer("Reshape")
def reshape(node: OnnxNode) -> Value:
    """Reshape: 0 copies a size unless ``allowzero``, -1 is what remains."""
    x = node.value(0)
    sizes = list(with_batch(node, x, node.ints(1, "the shape")))
    if not node.attribute("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    if -1 in sizes:
        known = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(x.shape) // known if known else 0
    return reshaped(node, x, tuple(sizes))


@importer("Flatten")
def flatten(node: OnnxNode) -> Value:
    """Flatten: a matrix of the axes before ``axis`` and those from it on."""
    x = node.value(0)
    axis = positive(node.attribute("axis", 1), len(x.shape))
    if axis == 1 and len(x.shape) > 1:
        return node.add(Flatten(), x)
    return reshaped(node, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@importer("Squeeze")
def squeeze(node: OnnxNode) -> Value:
    """Squeeze: without axes, every axis of size 1."""
    x = node.value(0)
    if not node.has(1) and node.stated_batch == 1 and x.shape and is_open(x.shape[0]):
        raise node.reject("without axes it leaves out the batch that the model fixes at 1", received=x.shape)
    ones = [axis for axis, size in enumerate(x.shape) if size == 1]
    axes = [positive(a, len(x.shape)) for a in node.ints(1, "axes")] if node.has(1) else ones
    return reshaped(node, x, tuple(size for axis, size in enumerate(x.shape) if axis not in axes))


@importer("Unsqueeze")
def unsqueeze(node: OnnxNode) -> Value:
    """Unsqueeze, whose axes are those of the output."""
    axes = node.ints(1, "axes")
    return node.add(Unsqueeze(axes=axes), node.value(0))


@importer("Transpose")
def transpose(node: OnnxNode) -> Value:
    """Transpose: without a permutation, the axes reversed."""
    x = node.value(0)
    order = node.attribute("perm", tuple(reversed(range(len(x.shape)))))
    return node.add(Transpose(permutation=order), x)


@importer("DepthToSpace")
def depth_to_space(node: OnnxNode) -> Value:
    """DepthToSpace in either order."""
    return node.add(DepthToSpace(block=node.attribute("blocksize"), order=node.attribute("mode", "DCR")), node.value(0))


@importer("SpaceToDepth")
def space_to_depth(node: OnnxNode) -> Value:
    """SpaceToDepth, whose order was always DCR before it had a ``mode``."""
    return node.add(SpaceToDepth(block=node.attribute("blocksize"), order=node.attribute("mode", "DCR")), node.value(0))


@importer("Pad")
def pad(node: OnnxNode) -> Value:
    """Pad in every mode; negative pads crop."""
    x, rank = node.value(0), len(node.shape(0))
    given = node.ints(1, "the pads")
    axes = [positive(a, rank) for a in node.ints(3, "axes")] if node.has(3) else list(range(rank))
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pairs[axis] = (given[i], given[len(axes) + i])
    number = node.scalar(2, "the padding's value")
    value: Any = str(number) if math.isinf(number) else number
    cropped = [axis for axis, pair in enumerate(pairs) if min(pair) < 0]
    if cropped:
        starts = tuple(max(-pairs[axis][0], 0) for axis in cropped)
        ends = tuple(min(pairs[axis][1], 0) or None for axis in cropped)
        x = node.add(Slice(starts=starts, ends=ends, axes=tuple(cropped)), x, part="cropped")
        pairs = [(max(begin, 0), max(end, 0)) for begin, end in pairs]
    mode = node.attribute("mode", "constant")
    if pairs[0] == (0, 0) and rank > 1:
        return node.add(Pad(padding=tuple(pairs[1:]), value=value, mode=mode), x)
    padded = node.add(Pad(padding=tuple(pairs), value=value, mode=mode), lifted(node, x), part="padded")
    return lowered(node, padded)


@importer("CenterCropPad")
def center_crop_pad(node: OnnxNode) -> Value:
    """CenterCropPad along some axes."""
    x, rank = node.value(0), len(node.shape(0))
    sizes = node.ints(1, "the shape")
    axes = [positive(a, rank) for a in node.attribute("axes", tuple(range(rank)))]
    target = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        target[axis] = size
    if target[:2] == list(x.shape[:2]):
        return node.add(CenterCropPad(size=tuple(target[2:])), x)
    twice = lifted(node, lifted(node, x), part="lifted_again")
    return reshaped(node, node.add(CenterCropPad(size=tuple(target)), twice, part="resized"), tuple(target), "lowered")
