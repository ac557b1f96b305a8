"""Faults of rectifiers: another slope, corner or limit than was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnnbench.numerics.faults.engine.base import Fault, other_kind, other_layer, other_weights
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, on_data, surrounded
from cnnbench.spec.layers import ReLU
from cnnbench.spec.layers.rectifier import (
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Shrink,
)
from cnnbench.spec.layers.smooth import SiLU

_IMAGE = SuspectNetwork((4, 8, 7))


FAULTS = (
    Fault(
        "leaky_relu.default_slope",
        "leaky_relu",
        "TensorFlow's default slope of 0.2 where PyTorch's 0.01 was asked for",
        surrounded(LeakyReLU(), _IMAGE),
        operation=other_layer(lambda layer: LeakyReLU(negative_slope=0.2)),
    ),
    Fault(
        "prelu.shared_slope",
        "prelu",
        "the first channel's slope used for all",
        surrounded(PReLU(slopes="channel"), _IMAGE),
        operation=other_weights(lambda layer, name, a: np.full_like(a, a.ravel()[0])),
    ),
    Fault(
        "relu6.unbounded",
        "relu6",
        "a plain ReLU (converters that drop the upper limit)",
        on_data(ReLU6(), _IMAGE, mean=3.0, deviation=4.0),
        operation=other_kind(lambda layer: ReLU()),
    ),
    Fault(
        "hard_sigmoid.keras_slope",
        "hard_sigmoid",
        "slope 0.2 (Keras 2, ONNX's default) where 1/6 was asked for",
        surrounded(HardSigmoid(), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, slope=0.2)),
    ),
    Fault(
        "hard_swish.smooth",
        "hard_swish",
        "x sigmoid(x), which hard-swish approximates",
        surrounded(HardSwish(), _IMAGE),
        operation=other_kind(lambda layer: SiLU()),
    ),
    Fault(
        "shrink.hard_for_soft",
        "shrink",
        "values kept as they are outside the threshold where they were to move towards zero",
        surrounded(Shrink(threshold=0.5, bias=0.5), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, bias=0.0)),
    ),
)
