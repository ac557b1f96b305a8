"""Faults of layers that move values between channels and positions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers.rearrange import ChannelShuffle, DepthToSpace, SpaceToDepth

_IMAGE = SuspectNetwork((4, 6, 8))
_CHANNELS = SuspectNetwork((12, 4, 3))


def _other_order(layer: Any) -> Any:
    return replace(layer, order="CRD" if layer.order == "DCR" else "DCR")


FAULTS = (
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
