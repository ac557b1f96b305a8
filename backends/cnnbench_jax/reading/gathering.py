"""Known places of an array: what indexing with constants, ``jnp.take`` and resizing to the nearest pixel trace to."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.layers.indexing import Gather, Slice
from cnnbench_jax.reading.call import JaxCall, reads
from cnnbench_jax.reading.draft import Drafted, UnreadFormError
from cnnbench_jax.reading.shapes import image_axis, reshaped


@reads("gather")
def gather(call: JaxCall) -> Drafted:
    """Along each axis on its own: a range, one place, or places that are an axis of the result."""
    numbers, x, source = call["dimension_numbers"], call.value(0), call.sources[0]
    given = call.fixed(1)
    if given is None:
        raise UnreadFormError("indices that are computed from an input")
    if numbers.operand_batching_dims:
        raise UnreadFormError("indices that differ along an axis of both operands")
    found = dict(zip(numbers.start_index_map, np.moveaxis(given.array, -1, 0).astype(int), strict=True))
    whole = np.zeros(given.array.shape[:-1], int)
    sizes, images = call["slice_sizes"], image_axis(x, source)
    lanes = [axis for axis in range(len(call.shape)) if axis not in numbers.offset_dims]  # of the indices
    ranges = [axis for axis in range(len(source)) if axis not in numbers.collapsed_slice_dims]
    places: dict[int, int] = dict(zip(ranges, numbers.offset_dims, strict=True))  # by axis of x that of the result
    for axis in range(len(source)):
        first = found.get(axis, whole)
        low, high = int(first.min()), int(first.max())
        if "CLIP" in str(call["mode"]):
            first = first.clip(0, source[axis] - sizes[axis])
        elif low < 0 or high > source[axis] - sizes[axis]:
            raise UnreadFormError(f"places {low} to {high} of an axis of {source[axis]}")
        if axis == images:
            if sizes[axis] != source[axis]:
                raise UnreadFormError("a part of the batch")
            continue
        x = _along(call, x, axis, first, places, lanes)
    return _in_order(call, x, source, places)


def _along(
    call: JaxCall, x: Drafted, axis: int, first: np.ndarray, places: dict[int, int], lanes: list[int]
) -> Drafted:
    """Takes the places along one axis; notes which axis of the result it becomes."""
    size = call["slice_sizes"][axis]
    varying = [lane for lane in range(first.ndim) if (first != first.take([0], lane)).any()]
    if not varying:
        start = int(first.reshape(-1)[0])
        if (start, size) == (0, x.shape[axis]):
            return x
        return call.add(Slice(starts=(start,), ends=(start + size,), axes=(axis,)), x)
    if len(varying) > 1 or size != 1 or axis in places:
        raise UnreadFormError("places along an axis that depend on several axes, or ranges from several places")
    lane = varying[0]
    if lanes[lane] in places.values():
        raise UnreadFormError("places that are chosen along two axes together: reshape them to one")
    places[axis] = lanes[lane]
    line = np.moveaxis(first, lane, 0).reshape(first.shape[lane], -1)[:, 0]
    return call.add(Gather(indices=tuple(int(i) for i in line), axis=axis), x)


def _in_order(call: JaxCall, x: Drafted, source: tuple[int, ...], places: dict[int, int]) -> Drafted:
    """The axes where the result has them; those of one place are left out, and axes of size 1 are put in."""
    images = image_axis(call.value(0), source)
    kept = sorted(places, key=lambda axis: places[axis])
    gone = [axis for axis in range(len(source)) if axis not in places]
    if any(size != 1 for axis, size in enumerate(call.shape) if axis not in places.values()):
        raise UnreadFormError("places that repeat a whole value along a new axis")
    sizes = [source[axis] if axis == images else x.shape[axis] for axis in (*kept, *gone)]
    x = call.draft.moved(x, (*kept, *gone))
    return reshaped(call, x, sizes, call.shape) if tuple(sizes) != tuple(call.shape) else x
