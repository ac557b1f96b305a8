"""Layers that move values: shapes, axes, padding, parts, positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnbench.spec.interchange.to_onnx.writer import NodeWriter, exporter
from cnnbench.spec.layers.padding import padded_from

FAR = 2**31 - 1  # beyond the end of every axis


def reshaped(node: NodeWriter, value: str, shape: Sequence[int]) -> str:
    """Reshape; 0 keeps the size of the same axis.

    Args:
        node: Being written.
        value: What is reshaped.
        shape: The target.
    """
    return node.op("Reshape", value, node.typed(np.array(shape, np.int64), "shape"))


@exporter("flatten")
def flatten(node: NodeWriter) -> list[str]:
    """Flatten behind the batch axis, Reshape elsewhere."""
    start = node.layer.start_axis
    if start == 1:
        return [node.op("Flatten", node.x, axis=1)]
    return [reshaped(node, node.x, [0] * start + [-1])]


@exporter("reshape")
def reshape(node: NodeWriter) -> list[str]:
    """Reshape that keeps the batch axis, or gives the whole shape."""
    shape = node.layer.shape
    if 0 in shape:
        if not node.layer.whole:
            raise node.refuse("a size of 0 behind the batch axis is not written as ONNX", received=shape)
        return [node.op("Reshape", node.x, node.typed(np.array(shape, np.int64), "shape"), allowzero=1)]
    return [reshaped(node, node.x, shape if node.layer.whole else (0, *shape))]


@exporter("transpose")
def transpose(node: NodeWriter) -> list[str]:
    """Transpose."""
    return [node.op("Transpose", node.x, perm=list(node.layer.permutation))]


@exporter("squeeze", "unsqueeze")
def unit_axes(node: NodeWriter) -> list[str]:
    """Squeeze and Unsqueeze."""
    operator = {"squeeze": "Squeeze", "unsqueeze": "Unsqueeze"}[node.layer.kind]
    return [node.op(operator, node.x, node.constant(list(node.layer.axes), "axes"))]


@exporter("tile")
def tile(node: NodeWriter) -> list[str]:
    """Tile."""
    return [node.op("Tile", node.x, node.constant([1, *node.layer.repeats], "repeats"))]


@exporter("expand")
def expand(node: NodeWriter) -> list[str]:
    """Expand; the batch size of a second input is read from it."""
    shape, rank = node.layer.shape, node.rank
    missing = len(shape) + 1 - rank
    value = node.op("Unsqueeze", node.x, node.constant(list(range(1, 1 + missing)), "axes")) if missing else node.x
    sizes = [1 if size == -1 else size for size in shape]
    if len(node.inputs) == 1:
        return [node.op("Expand", value, node.constant([1, *sizes], "shape"))]
    batch = node.op("Shape", node.inputs[1], start=0, end=1)
    return [node.op("Expand", value, node.op("Concat", batch, node.constant(sizes, "shape"), axis=0))]


@exporter("pad")
def pad(node: NodeWriter) -> list[str]:
    """Pad; ``symmetric``, which ONNX lacks, takes positions of each axis."""
    layer = node.layer
    if layer.mode == "symmetric":
        value = node.x
        for axis, (begin, end) in enumerate(layer.padding, 1):
            if begin or end:
                positions = padded_from("symmetric", node.shapes[0][axis], begin, end)
                value = node.op("Gather", value, node.constant(list(positions), "positions"), axis=axis)
        return [value]
    amounts = [0, *(begin for begin, _ in layer.padding), 0, *(end for _, end in layer.padding)]
    operands = [node.constant(amounts, "pads")]
    if layer.mode == "constant":
        operands.append(node.constant(int(layer.value) if node.is_int() else layer.constant, "value"))
    return [node.op("Pad", node.x, *operands, mode=layer.mode)]


@exporter("concat")
def concat(node: NodeWriter) -> list[str]:
    """Concat."""
    return [node.op("Concat", *node.inputs, axis=node.layer.axis)]


@exporter("split")
def split(node: NodeWriter) -> list[str]:
    """Split."""
    axis = node.layer.axis
    parts = [shape[axis] for shape in node.output_shapes]
    name = node.op("Split", node.x, node.constant(parts, "sizes"), outputs=len(parts), axis=axis)
    return [name, *(f"{name}#{i}" for i in range(1, len(parts)))]


@exporter("slice")
def cut(node: NodeWriter) -> list[str]:
    """Slice; a start or an end that is left out is the first or the last position in the direction of the step."""
    layer = node.layer
    axes = layer.axes if layer.axes is not None else tuple(range(1, 1 + len(layer.starts)))
    steps = layer.steps if layer.steps is not None else (1,) * len(axes)
    starts = [(FAR if step < 0 else 0) if at is None else at for at, step in zip(layer.starts, steps, strict=True)]
    ends = [(-FAR if step < 0 else FAR) if at is None else at for at, step in zip(layer.ends, steps, strict=True)]
    operands = [node.constant(list(item), "slice") for item in (starts, ends, axes, steps)]
    return [node.op("Slice", node.x, *operands)]


@exporter("roll")
def roll(node: NodeWriter) -> list[str]:
    """The two parts of each axis exchanged."""
    value = node.x
    for shift, axis in zip(node.layer.shifts, node.layer.axes, strict=True):
        size = node.shapes[0][axis]
        at = size - shift % size
        if at == size:
            continue
        axes = node.constant([axis], "axes")
        tail = node.op("Slice", value, node.constant([at], "start"), node.constant([FAR], "end"), axes)
        head = node.op("Slice", value, node.constant([0], "start"), node.constant([at], "end"), axes)
        value = node.op("Concat", tail, head, axis=axis)
    return [value]


@exporter("gather")
def gather(node: NodeWriter) -> list[str]:
    """Gather at fixed positions."""
    positions = node.constant(list(node.layer.indices), "positions")
    return [node.op("Gather", node.x, positions, axis=node.layer.axis)]


@exporter("gather_indices")
def gather_indices(node: NodeWriter) -> list[str]:
    """Gather, or GatherND where each image has indices of its own."""
    axis, shared = node.layer.axis, node.layer.shared_axes
    if not shared:
        return [node.op("Gather", *node.inputs, axis=axis)]
    if axis != shared:
        raise node.refuse(
            "ONNX gathers behind shared axes only", received=f"axis {axis}, {shared} shared", expected=f"axis {shared}"
        )
    apart = node.op("Unsqueeze", node.inputs[1], node.constant([-1], "axes"))
    return [node.op("GatherND", node.x, apart, batch_dims=shared)]


@exporter("take_rows")
def take_rows(node: NodeWriter) -> list[str]:
    """GatherND, and 0 where an index is negative."""
    indices, zero = node.inputs[1], node.constant(0, "zero")
    known = node.op("Unsqueeze", node.op("Max", indices, zero), node.constant([-1], "axes"))
    rows = node.op("GatherND", node.x, known, batch_dims=1)
    absent = node.op("Less", indices, zero)
    further = node.rank - 2
    if further:
        absent = node.op("Unsqueeze", absent, node.constant(list(range(2, 2 + further)), "axes"))
    return [node.op("Where", absent, node.constant(0.0), rows)]


@exporter("channel_shuffle")
def channel_shuffle(node: NodeWriter) -> list[str]:
    """Groups and their members exchanged."""
    channels, *spatial = node.shapes[0][1:]
    groups = node.layer.groups
    apart = reshaped(node, node.x, [0, groups, channels // groups, *spatial])
    turned = node.op("Transpose", apart, perm=[0, 2, 1, *range(3, 3 + len(spatial))])
    return [reshaped(node, turned, [0, channels, *spatial])]


def _block(node: NodeWriter) -> tuple[int, ...]:
    block = node.layer.block
    return block if isinstance(block, tuple) else (block,) * (node.rank - 2)


@exporter("depth_to_space")
def depth_to_space(node: NodeWriter) -> list[str]:
    """DepthToSpace of square blocks; others by axes."""
    block, order = _block(node), node.layer.order
    spatial = node.shapes[0][2:]
    if len(block) == 2 and block[0] == block[1]:
        return [node.op("DepthToSpace", node.x, blocksize=block[0], mode=order)]
    n, channels = len(block), node.output_shapes[0][1]
    parts = [*block, channels] if order == "DCR" else [channels, *block]
    apart = reshaped(node, node.x, [0, *parts, *spatial])
    first = 1 if order == "DCR" else 2
    channel = 1 + n if order == "DCR" else 1
    perm = [0, channel, *(axis for i in range(n) for axis in (2 + n + i, first + i))]
    return [reshaped(node, node.op("Transpose", apart, perm=perm), [0, *node.output_shapes[0][1:]])]


@exporter("space_to_depth")
def space_to_depth(node: NodeWriter) -> list[str]:
    """By axes: ONNX's SpaceToDepth has no order."""
    block, order = _block(node), node.layer.order
    channels, *spatial = node.shapes[0][1:]
    n = len(block)
    pairs = [size for full, b in zip(spatial, block, strict=True) for size in (full // b, b)]
    apart = reshaped(node, node.x, [0, channels, *pairs])
    positions, places = [2 + 2 * i for i in range(n)], [3 + 2 * i for i in range(n)]
    perm = [0, *places, 1, *positions] if order == "DCR" else [0, 1, *places, *positions]
    turned = node.op("Transpose", apart, perm=perm)
    smaller = [size // b for size, b in zip(spatial, block, strict=True)]
    return [reshaped(node, turned, [0, channels * math.prod(block), *smaller])]


@exporter("parameter")
def parameter(node: NodeWriter) -> list[str]:
    """An initializer."""
    node.keep_for_training(**node.layer.fields())
    return [node.op("Identity", node.weight("value"))]


@exporter("sinusoid_table", "causal_mask", "constant_table", "shifted_window_mask", "relative_offsets")
def table(node: NodeWriter) -> list[str]:
    """The table's values, as an initializer."""
    return [node.op("Identity", node.constant(np.array(node.layer.values()), "values"))]
