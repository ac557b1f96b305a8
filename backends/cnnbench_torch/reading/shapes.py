"""Views, joins and parts of tensors, as ``torch.export`` writes them; chains of views become one layer or none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from cnnbench.spec.graph import Value
from cnnbench.spec.layers import Concat, Flatten
from cnnbench.spec.layers.indexing import Slice, Split
from cnnbench.spec.layers.shape import Expand, Reshape, Squeeze, Tile, Transpose, Unsqueeze
from cnnbench_torch.reading.call import AtenCall, FixedTensor, NotReadError, reads

_VIEWS = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "squeeze_", "unsqueeze_")


@reads(*_VIEWS, "reshape_as", "view_as")
def reshape(call: AtenCall) -> Value:
    """Whatever it is called: the same values in row-major order."""
    return reshaped(call, call.value("self"), call.arguments["source_shape"], call.shape)


def reshaped(call: AtenCall, x: Value, source: Sequence[int], target: Sequence[int], part: str = "") -> Value:
    """A value in another shape.

    Args:
        call: The operation.
        x: The value.
        source: Its shape with all images.
        target: The wanted shape, likewise.
        part: Of what the operation becomes.
    """
    axis, batch = batch_axis(x, source), call.reading.batch
    if axis is None:
        same = tuple(target) == x.shape
        return x if same else call.add(Reshape(shape=tuple(target), whole=True), x, part=part)
    if axis == 0 and source[0] == target[0] == batch:
        inner = tuple(target[1:])
        if inner == x.shape[1:]:
            return x
        added = _only_added(x.shape, (1, *inner))
        if added is not None:
            return call.add(Unsqueeze(axes=added), x, part=part)
        removed = _only_added((1, *inner), x.shape)
        if removed is not None and len(inner) != 1:
            return call.add(Squeeze(axes=removed), x, part=part)
        start = _flattened_from(x.shape, (1, *inner))
        return call.add(Reshape(shape=inner) if start is None else Flatten(start_axis=start), x, part=part)
    before = math.prod(source[:axis]) * (1 if source[axis] == batch else _outer(call, x, x.shape[axis]))
    place, seen = 0, 1
    while place < len(target) - 1 and (seen * target[place] <= before or target[place] % batch):
        seen *= target[place]
        place += 1
    sizes = tuple(-1 if i == place else size for i, size in enumerate(target))
    made = call.add(Reshape(shape=sizes, whole=True), x, part=part)
    if target[place] != batch:
        call.reading.outer[made.name] = (made.shape[place], before // seen)
    return made


def _outer(call: AtenCall, x: Value, size: int) -> int:
    """How often the images come round in an axis of that size for one image, with which they are joined."""
    waiting, known = [x], call.reading.outer
    for value in waiting:
        joined, outer = known.get(value.name, (0, 0))
        if joined == size:
            return outer
        waiting += [item for item in call.reading.sources.get(value.name, ()) if item not in waiting]
    raise NotReadError("a reshape of an axis that holds the images and another axis, which is not known here")


def _only_added(short: Sequence[int], long: Sequence[int]) -> tuple[int, ...] | None:
    """The axes of size 1 that make the second shape of the first; None where more is needed."""
    axes, i = [], 0
    for place, size in enumerate(long):
        if i < len(short) and short[i] == size and (place == 0 or size != 1 or len(long) - place == len(short) - i):
            i += 1
        elif size == 1:
            axes.append(place)
        else:
            return None
    return tuple(axes) if i == len(short) and axes else None


def _flattened_from(source: Sequence[int], target: Sequence[int]) -> int | None:
    start = len(target) - 1
    joined = len(source) > len(target) and tuple(source[:start]) == tuple(target[:start])
    return start if joined else None


@reads("contiguous", "clone", "alias", "detach", "lift_fresh_copy", "to", "_to_copy", "type_as", "float", "detach_")
def identity(call: AtenCall) -> Any:
    """The same values; in a narrower type of floats they are rounded, which the graph does not show."""
    source, made = call.arguments["source_type"], call.arguments["type"]
    if source != made and made in (torch.float16, torch.bfloat16):
        call.reading.notes.append(f"{call.path or 'the model itself'}: values are rounded to {made}; in the graph not")
    return call["self"] if "self" in call.arguments else call["input"]


@reads("permute", "transpose", "t", "swapaxes", "movedim", "numpy_T", "mT")
def transpose(call: AtenCall) -> Value:
    """Axes in another order."""
    x = call.value("self")
    rank = len(x.shape)
    order = list(range(rank))
    if call.op == "permute":
        order = [axis % rank for axis in call["dims"]]
    elif call.op == "movedim":
        raise NotReadError("movedim: use permute")
    elif call.op in ("t", "numpy_T"):
        order = order[::-1]
    else:
        names = ("axis0", "axis1") if "axis0" in call.arguments else ("dim0", "dim1")
        one, two = (-2, -1) if call.op == "mT" else tuple(call[name] for name in names)
        order[one % rank], order[two % rank] = order[two % rank], order[one % rank]
    return x if order == sorted(order) else call.add(Transpose(permutation=tuple(order)), x)


@reads("expand", "expand_as")
def expand(call: AtenCall) -> Value:
    """Axes of size 1 repeated."""
    x = call.value("self")
    (x,) = call.aligned([x]) if len(x.shape) == len(call.shape) else [_raised(call, x, len(call.shape))]
    if x.shape[1:] == tuple(call.shape[1:]):
        return x
    return call.add(Expand(shape=tuple(call.shape[1:])), x)


def _raised(call: AtenCall, x: Value, rank: int) -> Value:
    return call.add(Unsqueeze(axes=tuple(range(rank - len(x.shape)))), x, part="unsqueeze")


@reads("repeat")
def repeat(call: AtenCall) -> Value:
    """A value laid side by side."""
    x = call.value("self")
    if len(call["repeats"]) != len(x.shape) or call["repeats"][0] != 1:
        raise NotReadError("a repeat that adds axes, or repeats the batch")
    return call.add(Tile(repeats=tuple(call["repeats"][1:])), x)


@reads("cat", "concat")
def concat(call: AtenCall) -> Value:
    """Side by side along one axis."""
    values = [call.as_value(item) for item in call["tensors"]]
    return values[0] if len(values) == 1 else call.add(Concat(axis=call["dim"] % len(call.shape)), *values)


@reads("stack")
def stack(call: AtenCall) -> Value:
    """Along a new axis."""
    axis = call["dim"] % len(call.shape)
    values, one = [call.as_value(item) for item in call["tensors"]], call.shape[:axis] + call.shape[axis + 1 :]
    if axis == 0:  # in front of the images' axis
        parts = [reshaped(call, value, one, (1, *one), "unsqueeze") for value in values]
    else:
        parts = [call.add(Unsqueeze(axes=(axis,)), value, part="unsqueeze") for value in values]
    return call.add(Concat(axis=axis), *parts)


@reads("split", "split_with_sizes", "chunk")
def split(call: AtenCall) -> tuple[Value, ...]:
    """In parts of equal or stated sizes."""
    x, axis = _with_axis(call)
    size = x.shape[axis]
    if call.op == "chunk":
        sizes: Any = _parts(size, -(-size // call["chunks"]))
    else:
        given = call.arguments.get("split_sizes") or call.arguments.get("split_size")
        sizes = _parts(size, given) if isinstance(given, int) else tuple(given)
    return call.add_all(Split(sizes=sizes, axis=axis), x)


@reads("unbind")
def unbind(call: AtenCall) -> tuple[Value, ...]:
    """Each place along an axis."""
    x, axis = _with_axis(call)
    parts = call.add_all(Split(sizes=(1,) * x.shape[axis], axis=axis), x)
    return tuple(_without(call, part, axis) for part in parts)


def _with_axis(call: AtenCall) -> tuple[Value, int]:
    """The operand and the axis along which it is taken apart, which is not that of the images."""
    x = call.value("self")
    axis = int(call["dim"]) % len(x.shape)
    if axis == batch_axis(x, call.arguments["source_shape"]):
        raise NotReadError(f"a {call.op} of the batch")
    return x, axis


def _without(call: AtenCall, part: Value, axis: int) -> Value:
    """A part of one place, without that axis; where it is the first, the images' axis comes forward with them."""
    full = call.arguments["source_shape"]
    if axis == 0:
        shape = tuple(-1 if n != m else n for n, m in zip(full[1:], part.shape[1:], strict=True))
        if -1 in shape:
            return call.add(Reshape(shape=shape, whole=True), part, part="squeeze")
    return call.add(Squeeze(axes=(axis,)), part, part="squeeze")


def _parts(size: int, each: int) -> tuple[int, ...]:
    full = size // each
    return (each,) * full + ((size - each * full,) if size % each else ())


@reads("slice", "narrow")
def part_of(call: AtenCall) -> Value:
    """A range along one axis."""
    x = call.value("self")
    axis = call["dim"] % len(x.shape)
    start = call.arguments.get("start") or 0
    step = call.arguments.get("step") or 1
    end = start + call["length"] if call.op == "narrow" else call.arguments.get("end")
    size = call.arguments["source_shape"][axis]
    start = max(start + size, 0) if start < 0 else start
    end = size if end is None or end >= size else end + size if end < 0 else end
    if (start, end, step) == (0, size, 1):
        return x
    if axis == batch_axis(x, call.arguments["source_shape"]):
        raise NotReadError("a part of the batch")
    return call.add(Slice(starts=(start,), ends=(end,), steps=(step,), axes=(axis,)), x)


@reads("select")
def select(call: AtenCall) -> Value:
    """One place along an axis."""
    x, axis = _with_axis(call)
    index = call["index"] % x.shape[axis]
    part = call.add(Slice(starts=(index,), ends=(index + 1,), axes=(axis,)), x, part="slice")
    return _without(call, part, axis)


@reads("new_zeros", "zeros_like", "new_ones", "ones_like", "new_full", "full_like")
def filled(call: AtenCall) -> FixedTensor:
    """A constant, of which an input tells the shape alone."""
    value = 0.0 if "zeros" in call.op else 1.0 if "ones" in call.op else float(call["fill_value"])
    return FixedTensor(torch.full(tuple(call.shape), value, dtype=torch.float64))


def batch_axis(value: Value, shape: Sequence[int]) -> int | None:
    """The axis of a value in which the images of a batch lie, None for a value that is the same for all.

    Args:
        value: Of the graph, for one image.
        shape: The same with all images.
    """
    found = [axis for axis, (one, all_) in enumerate(zip(value.shape, shape, strict=True)) if all_ != one]
    return found[0] if len(found) == 1 else None
