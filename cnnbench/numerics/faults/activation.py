"""Faults of plain activations: another axis, another scale, none at all."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer, other_outputs
from cnnbench.numerics.faults.engine.configurations import Surroundings, surrounded
from cnnbench.spec.layers import ReLU, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax

_IMAGE = Surroundings((4, 8, 7))
_SQUARE = Surroundings((4, 8, 8))


FAULTS = (
    Fault(
        "hardmax.axis",
        "hardmax",
        "the maximum along the last axis (ONNX's default) and not over channels",
        surrounded(Hardmax(), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, axis=-1)),
    ),
    Fault(
        "softmax.axis",
        "softmax",
        "softmax over the last axis and not over channels",
        surrounded(Softmax(), Surroundings((4, 5, 5))),
        operation=other_layer(lambda layer: replace(layer, axis=-1)),
    ),
    Fault(
        "tanh.unscaled",
        "tanh",
        "plain tanh where LeCun's 1.7159 tanh(2/3 x) was asked for",
        surrounded(Tanh(input_scale=2 / 3, output_scale=1.7159), _SQUARE),
        operation=other_layer(lambda layer: Tanh()),
    ),
    Fault(
        "relu.missing",
        "relu",
        "an activation left out",
        surrounded(ReLU(), _SQUARE),
        operation=other_outputs(lambda layer, inputs, outputs, call: (inputs[0],)),
    ),
)
