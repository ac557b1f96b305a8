"""Faults of layers that pick values: ends of slices, orders, directions."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers.indexing import Gather, Roll, Slice, Split

_IMAGE = SuspectNetwork((4, 6, 8))


def _end_inclusive(layer: Slice) -> Slice:
    return replace(layer, ends=tuple(None if end is None else end + 1 for end in layer.ends))


def _start_late(layer: Slice) -> Slice:
    return replace(
        layer,
        starts=tuple(None if start is None else start + 1 for start in layer.starts),
        ends=tuple(None if end is None else end + 1 for end in layer.ends),
    )


FAULTS = (
    Fault(
        "slice.end_inclusive",
        "slice",
        "the end taken too (MATLAB, Caffe's crop, R): another shape",
        surrounded(Slice(starts=(1, 2), ends=(4, 6), axes=(2, 3)), _IMAGE),
        operation=other_layer(_end_inclusive),
    ),
    Fault(
        "slice.off_by_one",
        "slice",
        "counted from one",
        surrounded(Slice(starts=(1, 2), ends=(4, 6), axes=(2, 3)), _IMAGE),
        operation=other_layer(_start_late),
    ),
    Fault(
        "split.reversed_sizes",
        "split",
        "parts cut from the other end: other shapes",
        surrounded(Split(sizes=(1, 3), axis=1), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, sizes=layer.sizes[::-1])),
    ),
    Fault(
        "gather.sorted",
        "gather",
        "positions taken in ascending order",
        surrounded(Gather(indices=(3, 0, 2, 1)), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, indices=tuple(sorted(layer.indices)))),
    ),
    Fault(
        "roll.direction",
        "roll",
        "rolled to smaller positions (the sign of a shifted window exchanged)",
        surrounded(Roll(shifts=(2, 3), axes=(2, 3)), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, shifts=tuple(-shift for shift in layer.shifts))),
    ),
)
