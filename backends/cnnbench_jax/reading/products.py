"""Matrix products of a jaxpr: with a parameter they are linear layers."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.spec.layers import Linear
from cnnbench.spec.layers.linear import MatMul
from cnnbench_jax.reading.call import JaxCall, reads
from cnnbench_jax.reading.draft import Drafted, FixedArray, UnreadFormError
from cnnbench_jax.reading.shapes import image_axis, reshaped


@reads("dot_general")
def dot(call: JaxCall) -> Drafted:
    """Of a value and a parameter, or of two values."""
    contracted, batched = call["dimension_numbers"]
    for one, other in ((0, 1), (1, 0)):
        weight = call.fixed(other)
        if weight is not None and not batched[0]:
            return _linear(call, weight, tuple(contracted[one]), tuple(contracted[other]), first=one == 0)
    if len(contracted[0]) != 1:
        raise UnreadFormError("a product of two values over several axes: reshape them to one")
    one, rows = _matrices(call, 0, batched[0], contracted[0])
    two, columns = _matrices(call, 1, batched[1], contracted[1])
    made = call.add(MatMul(transpose_b=True), one, two)
    if len(rows) == len(columns) == 1:
        return made
    lead = tuple(call.sources[0][axis] for axis in batched[0])
    return reshaped(call, made, (*lead, math.prod(rows), math.prod(columns)), (*lead, *rows, *columns))


def _matrices(call: JaxCall, position: int, batched: Any, contracted: Any) -> tuple[Drafted, tuple[int, ...]]:
    """An operand as a stack of matrices, the inner axis last, and the sizes of its own axes, which are one there."""
    x, source = call.value(position), call.sources[position]
    free = [axis for axis in range(len(source)) if axis not in (*batched, *contracted)]
    if image_axis(x, source) not in (None, *batched):
        raise UnreadFormError("a product that joins images")
    x = call.draft.moved(x, (*batched, *free, *contracted))
    own = tuple(source[axis] for axis in free)
    if len(own) != 1:
        lead, inner = (tuple(source[axis] for axis in axes) for axes in (batched, contracted))
        x = reshaped(call, x, (*lead, *own, *inner), (*lead, math.prod(own), *inner))
    return x, own


def _linear(
    call: JaxCall, weight: FixedArray, axes: tuple[int, ...], inner: tuple[int, ...], *, first: bool
) -> Drafted:
    position = 0 if first else 1
    x, source = call.value(position), call.sources[position]
    if image_axis(x, source) in axes:
        raise UnreadFormError("a product that joins the images of a batch")
    kept = [axis for axis in range(len(source)) if axis not in axes]
    x = call.draft.moved(x, (*kept, *axes))
    sizes = tuple(source[axis] for axis in kept)
    if len(axes) > 1:
        x = reshaped(call, x, (*sizes, *(source[axis] for axis in axes)), (*sizes, _size(source, axes)))
    free = [axis for axis in range(weight.array.ndim) if axis not in inner]
    shape = tuple(weight.array.shape[axis] for axis in free)
    matrix = weight.array.transpose((*free, *inner)).reshape(math.prod(shape), -1)
    layer = Linear(out_features=matrix.shape[0], bias=False)
    made = call.add(layer, x, weight=FixedArray(matrix, weight.name))
    if len(shape) != 1:
        made = reshaped(call, made, (*sizes, matrix.shape[0]), (*sizes, *shape))
    if first:
        return made
    rank = len(call.shape)
    return call.draft.moved(made, (*range(len(kept), rank), *range(len(kept))))


def _size(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod(shape[axis] for axis in axes)
