"""Importers of operators that move values: reshape, transpose, flatten, slice, pad and their kin."""

from __future__ import annotations

import math

import numpy as np

from cnnbench.spec.composites.indexing import CenterCropPad
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Concat, Shape
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Slice, Split
from cnnbench.spec.layers.padding import Pad
from cnnbench.spec.layers.rearrange import DepthToSpace, SpaceToDepth
from cnnbench.spec.layers.shape import Expand, Flatten, Reshape, Tile, Transpose, Unsqueeze


def reshaped(node: OnnxNode, x: Value, target: Shape, part: str = "") -> Value:
    """``x`` in another shape of fixed sizes; the batch axis stays open where the model's first axis is the batch.

    Args:
        node: Where the layer belongs.
        x: Any shape.
        target: The other shape, of as many elements, the model's first axis included.
        part: As in ``OnnxNode.add``.
    """
    if node.batched and x.shape[:1] == (1,) and target[:1] == (1,):
        return node.add(Reshape(shape=target[1:]), x, part=part)
    return node.add(Reshape(shape=target, whole=True), x, part=part)


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
    return node.add(Reshape(shape=x.shape[1:], whole=True), x)


def positive(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


@importer("Reshape")
def reshape(node: OnnxNode) -> Value:
    """Reshape: 0 copies a size unless ``allowzero``, -1 is what remains."""
    x = node.value(0)
    sizes = list(node.ints(1, "the shape"))
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
    ones = [axis for axis, size in enumerate(x.shape) if size == 1 and not (node.batched and axis == 0)]
    axes = [positive(a, len(x.shape)) for a in node.ints(1, "axes")] if node.has(1) else ones
    return reshaped(node, x, tuple(size for axis, size in enumerate(x.shape) if axis not in axes))


@importer("Unsqueeze")
def unsqueeze(node: OnnxNode) -> Value:
    """Unsqueeze, whose axes are those of the output."""
    return node.add(Unsqueeze(axes=node.ints(1, "axes")), node.value(0))


@importer("Transpose")
def transpose(node: OnnxNode) -> Value:
    """Transpose: without a permutation, the axes reversed."""
    x = node.value(0)
    order = node.attribute("perm", tuple(reversed(range(len(x.shape)))))
    return node.add(Transpose(permutation=order), x)


@importer("Concat")
def concat(node: OnnxNode) -> Value:
    """Concat."""
    return node.add(Concat(axis=node.attribute("axis")), *node.values())


@importer("Expand")
def expand(node: OnnxNode) -> Value:
    """Expand: broadcasting in both directions."""
    x = node.value(0)
    wanted = node.ints(1, "the shape")
    rank = max(len(wanted), len(x.shape))
    own = (1,) * (rank - len(x.shape)) + x.shape
    other = (1,) * (rank - len(wanted)) + wanted
    target = tuple(b if a == 1 else a for a, b in zip(own, other, strict=True))
    if target == x.shape:
        return x
    if node.batched and x.shape[0] == 1 and target[0] == 1 and rank == len(x.shape):
        return node.add(Expand(shape=target[1:]), x)
    return lowered(node, node.add(Expand(shape=target), lifted(node, x), part="expanded"))


@importer("Tile")
def tile(node: OnnxNode) -> Value:
    """Tile."""
    x, repeats = node.value(0), node.ints(1, "repeats")
    if repeats[:1] == (1,):
        return node.add(Tile(repeats=repeats[1:]), x)
    return lowered(node, node.add(Tile(repeats=repeats), lifted(node, x), part="tiled"))


@importer("Slice")
def slice_(node: OnnxNode) -> Value:
    """Slice, with Python's rules; ends beyond either side are clamped."""
    x = node.value(0)
    starts, ends = node.ints(1, "starts"), node.ints(2, "ends")
    axes = node.ints(3, "axes") if node.has(3) else tuple(range(len(starts)))
    steps = node.ints(4, "steps") if node.has(4) else (1,) * len(starts)
    stops: list[int | None] = []
    for axis, end, step in zip(axes, ends, steps, strict=True):
        stops.append(None if step < 0 and end < -x.shape[axis] else end)
    return node.add(Slice(starts=starts, ends=tuple(stops), steps=steps, axes=axes), x)


@importer("Split")
def split(node: OnnxNode) -> list[Result]:
    """Split: by sizes, or into equal parts of which the last may be smaller."""
    x = node.value(0)
    axis = positive(node.attribute("axis", 0), len(x.shape))
    if node.has(1):
        sizes = node.ints(1, "the sizes")
    else:
        count = node.attribute("num_outputs", len(node.outputs))
        size = -(-x.shape[axis] // count)
        sizes = tuple(min(size, x.shape[axis] - i * size) for i in range(count))
    if 0 in sizes:
        stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return [
            node.add(Slice(starts=(stop - size,), ends=(stop,), axes=(axis,)), x, part=f"part{i}")
            for i, (size, stop) in enumerate(zip(sizes, stops, strict=True))
        ]
    return list(node.add_all(Split(sizes=sizes, axis=axis), x))


@importer("Gather")
def gather(node: OnnxNode) -> Value:
    """Gather: positions that the model fixes, or that are computed or fed. Negative ones must be known."""
    x, axis = node.value(0), node.attribute("axis", 0)
    fixed = node.constant(1)
    if fixed is None and node.knowable(1) and (node.static(1, "the indices") < 0).any():
        fixed = node.static(1, "the indices")
    if fixed is None:
        indices = node.value(1)
        return node.add(GatherIndices(axis=axis), x, indices)
    rank = positive(axis, len(x.shape))
    taken = node.add(Gather(indices=tuple(int(i) for i in fixed.reshape(-1)), axis=axis), x, part="rows")
    return reshaped(node, taken, (*x.shape[:rank], *fixed.shape, *x.shape[rank + 1 :]))


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
    value = node.scalar(2, "the padding's value")
    if any(number < 0 for pair in pairs for number in pair):
        starts = tuple(max(-begin, 0) for begin, _ in pairs)
        ends = tuple(size - max(-end, 0) for size, (_, end) in zip(x.shape, pairs, strict=True))
        x = node.add(Slice(starts=starts, ends=ends, axes=tuple(range(rank))), x, part="cropped")
        pairs = [(max(begin, 0), max(end, 0)) for begin, end in pairs]
    mode = node.attribute("mode", "constant")
    if pairs[0] == (0, 0) and rank > 1:
        return node.add(Pad(padding=tuple(pairs[1:]), value=value, mode=mode), x)
    padded = node.add(Pad(padding=tuple(pairs), value=value, mode=mode), lifted(node, x), part="padded")
    return lowered(node, padded)


@importer("ConstantOfShape")
def constant_of_shape(node: OnnxNode) -> Array:
    """ConstantOfShape of a shape that was given."""
    value = node.attribute("value", np.zeros(1, np.float32))
    return np.full(node.ints(0, "the shape"), value.reshape(-1)[0], value.dtype)


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
