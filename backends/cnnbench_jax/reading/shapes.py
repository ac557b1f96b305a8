"""Views, joins and parts of arrays in a jaxpr."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnbench.spec.layers import Concat, Flatten
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.padding import Pad
from cnnbench.spec.layers.shape import Expand, Reshape, Squeeze, Unsqueeze
from cnnbench_jax.reading.call import JaxCall, reads
from cnnbench_jax.reading.draft import BATCH, Drafted, FixedArray, Operand, UnreadFormError


def image_axis(x: Drafted, shape: Sequence[int]) -> int | None:
    """The axis of a value in which the images of a batch lie, None for a value that is the same for all.

    Args:
        x: The value, for one image.
        shape: The same with a batch of ``BATCH``.
    """
    found = [axis for axis, (one, all_) in enumerate(zip(x.shape, shape, strict=True)) if all_ == one * BATCH]
    return found[0] if found else None


@reads("reshape")
def reshape(call: JaxCall) -> Drafted:
    """The same values in row-major order."""
    if call.parameters.get("dimensions") is not None:
        raise UnreadFormError("a reshape with an order of axes")
    return reshaped(call, call.value(), call.sources[0], call.shape)


def reshaped(call: JaxCall, x: Drafted, source: Sequence[int], target: Sequence[int]) -> Drafted:
    """A value in another shape.

    Args:
        call: The operation.
        x: The value.
        source: Its shape with a batch of ``BATCH``.
        target: The wanted shape, likewise.
    """
    axis = image_axis(x, source)
    if axis is None:
        return x if tuple(target) == x.shape else call.add(Reshape(shape=tuple(target), whole=True), x)
    if axis == 0 and source[0] == target[0] == BATCH:
        inner = tuple(target[1:])
        if inner == x.shape[1:]:
            return x
        ones = tuple(i for i, size in enumerate((1, *inner)) if i and size == 1)
        if tuple(size for size in inner if size != 1) == x.shape[1:]:
            return call.add(Unsqueeze(axes=ones), x)
        joined = len(inner) < len(x.shape) - 1 and inner[:-1] == x.shape[1 : len(inner)]
        return call.add(Flatten(start_axis=len(inner)) if joined else Reshape(shape=inner), x)
    places = [i for i, size in enumerate(target) if size % BATCH == 0]
    if len(places) != 1:
        raise UnreadFormError("a reshape that divides the images of a batch")
    return call.add(Reshape(shape=tuple(-1 if i == places[0] else n for i, n in enumerate(target)), whole=True), x)


@reads("squeeze")
def squeeze(call: JaxCall) -> Drafted:
    """Axes of size 1 are left out."""
    return call.add(Squeeze(axes=tuple(call["dimensions"])), call.value())


@reads("expand_dims")
def expand_dims(call: JaxCall) -> Drafted:
    """Axes of size 1 are put in."""
    return call.add(Unsqueeze(axes=tuple(call["dimensions"])), call.value())


@reads("transpose")
def transpose(call: JaxCall) -> Drafted:
    """Axes in another order."""
    return call.draft.moved(call.value(), call["permutation"])


@reads("broadcast_in_dim")
def broadcast(call: JaxCall) -> Drafted:
    """New axes, and axes of size 1 repeated."""
    x, places = call.value(), tuple(call["broadcast_dimensions"])
    if list(places) != sorted(places):
        raise UnreadFormError("a broadcast that changes the order of axes")
    added = tuple(axis for axis in range(len(call.shape)) if axis not in places)
    x = call.add(Unsqueeze(axes=added), x) if added else x
    kept = [call.sources[0][places.index(axis)] if axis in places else 1 for axis in range(len(call.shape))]
    repeated = [axis for axis, (one, all_) in enumerate(zip(kept, call.shape, strict=True)) if one != all_]
    if not repeated:
        return x
    if 0 in repeated:
        raise UnreadFormError("a value repeated along the first axis")
    return call.add(Expand(shape=tuple(-1 if n == m else m for n, m in zip(kept[1:], call.shape[1:], strict=True))), x)


@reads("concatenate")
def concat(call: JaxCall) -> Drafted:
    """Side by side along one axis; a constant is given to every image."""
    axis = call["dimension"]
    values = [_repeated(call, operand, shape) for operand, shape in zip(call.operands, call.sources, strict=True)]
    if call.shape[axis] != sum(value.shape[axis] for value in values):
        raise UnreadFormError("images that are joined along the batch")
    return values[0] if len(values) == 1 else call.add(Concat(axis=axis), *values)


def _repeated(call: JaxCall, operand: Operand, shape: Sequence[int]) -> Drafted:
    if isinstance(operand, Drafted):
        return operand
    array = operand.array
    if shape[0] != BATCH or call.draft.image is None:
        return call.draft.value(FixedArray(np.array(array), operand.name))
    if not (array == array[:1]).all():
        raise UnreadFormError("a constant that differs between the images of a batch")
    held = call.draft.value(FixedArray(np.array(array[:1]), operand.name))
    return call.add(Expand(shape=tuple(shape[1:])), held, call.draft.image)


@reads("slice")
def part_of(call: JaxCall) -> Drafted:
    """A range along some axes."""
    x, steps = call.value(), call["strides"] or (1,) * len(call.shape)
    ranges = list(zip(call["start_indices"], call["limit_indices"], steps, strict=True))
    axes = [axis for axis, item in enumerate(ranges) if item != (0, call.sources[0][axis], 1)]
    if image_axis(x, call.sources[0]) in axes:
        raise UnreadFormError("a part of the batch")
    if not axes:
        return x
    starts, ends, strides = zip(*(ranges[axis] for axis in axes), strict=True)
    return call.add(Slice(starts=starts, ends=ends, steps=strides, axes=tuple(axes)), x)


@reads("pad")
def pad(call: JaxCall) -> Drafted:
    """With one number; a negative padding crops, one between elements is not read."""
    x, number = call.value(0), call.number(1)
    low_high = call["padding_config"]
    if number is None or any(inner for _, _, inner in low_high):
        raise UnreadFormError("a padding between elements, or with a value that is computed")
    if any(low < 0 or high < 0 for low, high, _ in low_high) or tuple(low_high[0][:2]) != (0, 0):
        raise UnreadFormError("a padding that crops, or pads the batch: slice instead")
    value: Any = number if math.isfinite(number) else "inf" if number > 0 else "-inf"
    pairs = tuple((low, high) for low, high, _ in low_high[1:])
    return call.add(Pad(padding=pairs, value=value), x) if any(map(any, pairs)) else x
