"""Faults of layers that move values: orders of axes, ends of slices, directions, edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Gradients, LayoutChange, Operation, Operations, OpResult
from cnnbench.numerics.faults.base import Arrays, Fault, other_layer
from cnnbench.numerics.faults.configurations import Surroundings, surrounded
from cnnbench.spec.layers import Pad
from cnnbench.spec.layers.indexing import Gather, Roll, Slice, Split
from cnnbench.spec.layers.rearrange import ChannelShuffle, DepthToSpace, SpaceToDepth
from cnnbench.spec.layers.shape import Reshape, Tile, Transpose

_IMAGE = Surroundings((4, 6, 8))
_CHANNELS = Surroundings((12, 4, 3))


def _channels_last_order(right: Operation, table: Operations) -> Operation:
    """The channel axis moved to the end before values get their new shape."""
    change, last = table["layout_change"], LayoutChange(to="channels_last")

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        moved = change.forward(last, inputs, (), (), call)
        result = right.forward(layer, moved.outputs, weights, state, call)
        return result._replace(saved=(result.saved, moved.saved))

    if right.backward is None or change.backward is None:
        return Operation(forward, None, right.weight_layout)
    inner_backward, change_backward = right.backward, change.backward

    def backward(layer: Any, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
        inner = inner_backward(layer, saved[0], gradients, weights, call).inputs
        return change_backward(last, saved[1], inner, (), call)

    return Operation(forward, backward, right.weight_layout)


def _end_inclusive(layer: Slice) -> Slice:
    return replace(layer, ends=tuple(None if end is None else end + 1 for end in layer.ends))


def _start_late(layer: Slice) -> Slice:
    return replace(
        layer,
        starts=tuple(None if start is None else start + 1 for start in layer.starts),
        ends=tuple(None if end is None else end + 1 for end in layer.ends),
    )


def _other_order(layer: Any) -> Any:
    return replace(layer, order="CRD" if layer.order == "DCR" else "DCR")


FAULTS = (
    Fault(
        "reshape.channels_last_order",
        "reshape",
        "values given another shape in channels-last order (TensorFlow networks ported)",
        surrounded(Reshape(shape=(8, 4, 6)), _IMAGE),
        operation=_channels_last_order,
    ),
    Fault(
        "transpose.inverse",
        "transpose",
        "the permutation read as where axes go and not as where they come from",
        surrounded(Transpose(permutation=(0, 2, 3, 1)), Surroundings((5, 5, 5))),
        operation=other_layer(
            lambda layer: replace(
                layer, permutation=tuple(layer.permutation.index(i) for i in range(len(layer.permutation)))
            )
        ),
    ),
    Fault(
        "tile.doubled",
        "tile",
        "repeats given as (width, height): another shape",
        surrounded(Tile(repeats=(1, 2, 3)), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, repeats=(layer.repeats[0], *layer.repeats[:0:-1]))),
    ),
    Fault(
        "pad.reflect_repeats_edge",
        "pad",
        "the edge repeated where it was to be reflected (TensorFlow's SYMMETRIC, Caffe2, early Keras ports)",
        surrounded(Pad(padding=((0, 0), (1, 2), (3, 0)), mode="reflect"), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, mode="symmetric")),
    ),
    Fault(
        "pad.zeros_for_edge",
        "pad",
        "zeros where the edge was to be repeated",
        surrounded(Pad(padding=((0, 0), (1, 2), (3, 0)), mode="edge"), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, mode="constant")),
    ),
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
    Fault(
        "channel_shuffle.transposed",
        "channel_shuffle",
        "the number of groups taken for their size, which is the inverse shuffle",
        surrounded(ChannelShuffle(groups=3), _CHANNELS),
        operation=other_layer(lambda layer: replace(layer, groups=4)),
    ),
    Fault(
        "depth_to_space.crd_for_dcr",
        "depth_to_space",
        "PyTorch's order of channels where TensorFlow's was asked for (ONNX before opset 11 had one order only)",
        surrounded(DepthToSpace(block=2, order="DCR"), _CHANNELS),
        operation=other_layer(_other_order),
    ),
    Fault(
        "space_to_depth.dcr_for_crd",
        "space_to_depth",
        "TensorFlow's order of channels where PyTorch's was asked for",
        surrounded(SpaceToDepth(block=2, order="CRD"), _IMAGE),
        operation=other_layer(_other_order),
    ),
)
