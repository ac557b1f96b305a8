"""Faults of padding: its ends exchanged, another value at the edge."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer, swapped_padding
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers import Pad

_SQUARE = SuspectNetwork((4, 8, 8))
_IMAGE = SuspectNetwork((4, 6, 8))

FAULTS = (
    Fault(
        "pad.swapped",
        "pad",
        "padding given as (end, begin)",
        surrounded(Pad(padding=((0, 0), (0, 1), (0, 1))), _SQUARE),
        operation=swapped_padding,
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
)
