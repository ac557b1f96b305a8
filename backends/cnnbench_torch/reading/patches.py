"""Positions that are picked, repeated, or laid side by side in windows, as ``torch.export`` writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from cnnbench.spec.graph import Value
from cnnbench.spec.layers import Pad
from cnnbench.spec.layers.indexing import Gather, Roll
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.shape import Expand, Reshape, Transpose, Unsqueeze
from cnnbench_torch.reading.call import AtenCall, FixedTensor, NotReadError, reads
from cnnbench_torch.reading.shapes import batch_axis, reshaped


@reads("index", "index_select")
def gather(call: AtenCall) -> Value:
    """Fixed places along one axis."""
    x = call.value("self")
    if call.op == "index_select":
        axis, index = call["dim"] % len(x.shape), call["index"]
    else:
        given = [(i, item) for i, item in enumerate(call["indices"]) if item is not None]
        if len(given) != 1:
            raise NotReadError("indices along several axes")
        axis, index = given[0]
    of_images = axis == batch_axis(x, call.arguments["source_shape"])
    if not isinstance(index, FixedTensor) or index.tensor.ndim != 1 or of_images:
        raise NotReadError("indices that are computed, or of the batch")
    return call.add(Gather(indices=tuple(int(i) for i in index.tensor), axis=axis), x)


@reads("roll")
def roll(call: AtenCall) -> Value:
    """Round the border of the image."""
    return call.add(Roll(shifts=tuple(call["shifts"]), axes=tuple(call["dims"])), call.value("self"))


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


@reads("col2im")
def col2im(call: AtenCall) -> Value:
    """``nn.Fold``: the sum of what windows hold for each position, along each axis a product with zeros and ones."""
    x, kernel = call.value("self"), call["kernel_size"]
    channels = x.shape[1] // math.prod(kernel)
    tables = []
    for i in range(2):
        size, step, dilation, pad = (call[name][i] for name in ("output_size", "stride", "dilation", "padding"))
        count = (size + 2 * pad - dilation * (kernel[i] - 1) - 1) // step + 1
        table = torch.zeros(1, 1, size, kernel[i], count, dtype=torch.float64)
        for tap in range(kernel[i]):
            for window in range(count):
                place = window * step + tap * dilation - pad
                if 0 <= place < size:
                    table[0, 0, place, tap, window] = 1
        tables.append(table.flatten(3))
    counts = [table.shape[3] // k for table, k in zip(tables, kernel, strict=True)]
    x = call.add(Reshape(shape=(channels, *kernel, *counts)), x, part="windows")
    x = call.add(Transpose(permutation=(0, 1, 2, 4, 3, 5)), x, part="order")
    x = call.add(Reshape(shape=(channels, *(table.shape[3] for table in tables))), x, part="rows_and_columns")
    x = call.add(MatMul(), call.as_value(FixedTensor(tables[0])), x, part="rows")
    return call.add(MatMul(transpose_b=True), x, call.as_value(FixedTensor(tables[1])), part="columns")


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
