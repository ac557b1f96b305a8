"""``einsum`` of two operands, as ``torch.export`` writes it: a product of matrices between two orders of axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cnnbench.spec.graph import Value
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.shape import Transpose
from cnnbench_torch.reading.call import AtenCall, NotReadError, reads
from cnnbench_torch.reading.shapes import reshaped


@reads("einsum")
def einsum(call: AtenCall) -> Value:
    """Axes of both, of each alone, and those that are summed over; each kind any number of times."""
    given, _, target = call["equation"].replace(" ", "").partition("->")
    one, _, two = given.partition(",")
    shared = [axis for axis in target if axis in one and axis in two]
    own, theirs = ([axis for axis in side if axis not in other] for side, other in ((one, two), (two, one)))
    summed = [axis for axis in one if axis in two and axis not in target]
    repeated = any(len(set(axes)) != len(axes) for axes in (one, two, target))
    if repeated or not target or not set(own + theirs) <= set(target) or "." in given or "," in two:
        raise NotReadError(f"einsum of {call['equation']}")
    operands = [call.as_value(item) for item in call["tensors"]]
    sizes = dict(zip(one, operands[0].shape, strict=True)) | dict(zip(two, operands[1].shape, strict=True))
    sizes |= dict(zip(target, call.shape, strict=True))  # with all images
    x = _matrices(call, operands[0], one, (shared, own, summed), sizes)
    y = _matrices(call, operands[1], two, (shared, theirs, summed), sizes)
    made = call.add(MatMul(transpose_b=True), x, y)
    if not len(own) == len(theirs) == 1:
        joined = [math.prod(sizes[axis] for axis in axes) for axes in (own, theirs)]
        split = [*shared, *own, *theirs]
        lead = [sizes[axis] for axis in shared]
        made = reshaped(call, made, (*lead, *joined), [sizes[axis] for axis in split], part="split")
    return _in_order(call, made, "".join([*shared, *own, *theirs]), list(target))


def _matrices(call: AtenCall, x: Value, axes: str, kinds: Sequence[Sequence[str]], sizes: Mapping[str, int]) -> Value:
    """An operand as matrices: the shared axes in front, its own axes as one, those that are summed over as one."""
    wanted = [axis for kind in kinds for axis in kind]
    x = _in_order(call, x, axes, wanted)
    if len(kinds[1]) == len(kinds[2]) == 1:
        return x
    images = [i for i, axis in enumerate(wanted) if sizes[axis] != x.shape[i]]
    source = [sizes[axis] if i in images else x.shape[i] for i, axis in enumerate(wanted)]
    joined = [math.prod(source[wanted.index(axis)] for axis in kind) for kind in kinds[1:]]
    return reshaped(call, x, source, (*source[: len(kinds[0])], *joined), part="joined")


def _in_order(call: AtenCall, x: Value, axes: str, wanted: list[str]) -> Value:
    order = tuple(axes.index(axis) for axis in wanted)
    return x if order == tuple(range(len(order))) else call.add(Transpose(permutation=order), x, part="order")
