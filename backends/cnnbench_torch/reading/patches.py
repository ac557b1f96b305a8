"""Windows of positions laid side by side, and positions that are repeated, as ``torch.export`` writes them."""

from __future__ import annotations

from collections.abc import Sequence

from cnnbench.spec.graph import Value
from cnnbench.spec.layers import Pad
from cnnbench.spec.layers.indexing import Gather
from cnnbench.spec.layers.shape import Expand, Reshape, Transpose, Unsqueeze
from cnnbench_torch.reading.call import AtenCall, NotReadError, reads
from cnnbench_torch.reading.shapes import batch_axis, reshaped


@reads("im2col")
def im2col(call: AtenCall) -> Value:
    """``nn.Unfold``: the elements of each window as channels."""
    x, kernel, pads = call.value("self"), call["kernel_size"], call["padding"]
    if any(pads):
        x = call.add(Pad(padding=((0, 0), *((size, size) for size in pads))), x, part="pad")
    counts = []
    for i in range(2):
        size, step, dilation = x.shape[2 + i], call["stride"][i], call["dilation"][i]
        count = (size - dilation * (kernel[i] - 1) - 1) // step + 1
        places = [start * step + tap * dilation for tap in range(kernel[i]) for start in range(count)]
        x = _gathered(call, x, places, 2 + i)
        counts.append(count)
    x = call.add(Reshape(shape=(x.shape[1], kernel[0], counts[0], kernel[1], counts[1])), x, part="windows")
    x = call.add(Transpose(permutation=(0, 1, 2, 4, 3, 5)), x, part="order")
    return call.add(Reshape(shape=tuple(call.shape[1:])), x, part="columns")


@reads("unfold")
def unfold(call: AtenCall) -> Value:
    """Windows along one axis, whose elements become the last axis."""
    x, rank = call.value("self"), len(call.shape) - 1
    axis, size, step = call["dimension"] % rank, call["size"], call["step"]
    if axis == batch_axis(x, call.arguments["source_shape"]):
        raise NotReadError("windows over the batch")
    count = (x.shape[axis] - size) // step + 1
    x = _gathered(call, x, [start * step + tap for start in range(count) for tap in range(size)], axis)
    full = list(call.arguments["source_shape"])
    source = (*full[:axis], count * size, *full[axis + 1 :])
    x = reshaped(call, x, source, (*full[:axis], count, size, *full[axis + 1 :]), part="windows")
    order = (*range(axis + 1), *range(axis + 2, rank + 1), axis + 1)
    return x if axis == rank - 1 else call.add(Transpose(permutation=order), x, part="order")


def _gathered(call: AtenCall, x: Value, places: Sequence[int], axis: int) -> Value:
    if list(places) == list(range(x.shape[axis])):
        return x
    return call.add(Gather(indices=tuple(places), axis=axis), x, part="places")


@reads("repeat_interleave")
def repeat_interleave(call: AtenCall) -> Value:
    """Each place of an axis so many times in a row."""
    x, times = call.value("self"), call.arguments.get("repeats")
    if not isinstance(times, int) or call["dim"] is None:
        raise NotReadError("repeats that differ, or without an axis")
    full = call.arguments["source_shape"]
    axis = call["dim"] % len(full)
    if axis == 0 != batch_axis(x, full):
        raise NotReadError("along a first axis that is not that of the images")
    x = call.add(Unsqueeze(axes=(axis + 1,)), x, part="unsqueeze")
    x = call.add(Expand(shape=tuple(times if i == axis else -1 for i in range(len(full)))), x, part="expand")
    return reshaped(call, x, (*full[: axis + 1], times, *full[axis + 1 :]), call.shape)
