"""Faults of activations: another form, slope, corner or constant than was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.base import Arrays, Fault, OperationChange, other_layer, other_weights
from cnnbench.numerics.faults.configurations import Configuration, Surroundings, surrounded
from cnnbench.spec.layers import Layer, ReLU
from cnnbench.spec.layers.activation import Hardmax
from cnnbench.spec.layers.rectifier import (
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Shrink,
    ThresholdedLinearUnit,
)
from cnnbench.spec.layers.smooth import ELU, GELU, SELU, SiLU, Softplus

_IMAGE = Surroundings((4, 8, 7))


def on_data(layer: Layer, around: Surroundings, *, mean: float, deviation: float) -> Configuration:
    """The suspect reads values of this mean and standard deviation, the same for every channel."""
    plain = surrounded(layer, around)

    def case(options: ProgramOptions, seed: int) -> Case:
        found = plain(options, seed)
        arrays = dict(found.arrays)
        for name, value in (("before0.weight", deviation), ("before0.bias", mean)):
            arrays[name] = np.full_like(arrays[name], value)
        return replace(found, arrays=arrays)

    return case


def other_kind(change: Callable[[Any], Layer], weights: Callable[[Arrays], Arrays] = lambda w: w) -> OperationChange:
    """The op of another kind in its place, on the weights that ``weights`` picks."""

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Arrays, given: Arrays, state: Arrays, call: Call) -> OpResult:
            other = change(layer)
            result = table[other.kind].forward(other, inputs, weights(given), (), call)
            return OpResult(result.outputs)

        return Operation(forward, right.backward, right.weight_layout)

    return build


FAULTS = (
    Fault(
        "gelu.tanh_form",
        "gelu",
        "the approximation by tanh (the default of JAX and keras.ops) where the exact function was asked for",
        surrounded(GELU(), _IMAGE),
        operation=other_layer(lambda layer: GELU(form="tanh")),
    ),
    Fault(
        "gelu.sigmoid_form",
        "gelu",
        "x sigmoid(1.702 x) (CLIP's quick GELU) where the exact function was asked for",
        surrounded(GELU(), _IMAGE),
        operation=other_kind(lambda layer: SiLU(beta=1.702)),
    ),
    Fault(
        "silu.beta_ignored",
        "silu",
        "x sigmoid(x) whatever beta is",
        surrounded(SiLU(beta=1.702), _IMAGE),
        operation=other_layer(lambda layer: SiLU()),
    ),
    Fault(
        "softplus.beta_ignored",
        "softplus",
        "log(1 + exp(x)) whatever beta is (TensorFlow and JAX have no beta)",
        surrounded(Softplus(beta=2.0), _IMAGE),
        operation=other_layer(lambda layer: Softplus()),
    ),
    Fault(
        "elu.alpha_ignored",
        "elu",
        "alpha taken as 1 (TensorFlow's function has none)",
        surrounded(ELU(alpha=0.5), _IMAGE),
        operation=other_layer(lambda layer: ELU()),
    ),
    Fault(
        "selu.unscaled",
        "selu",
        "an ELU of SELU's alpha, without its scale",
        surrounded(SELU(), _IMAGE),
        operation=other_kind(lambda layer: ELU(alpha=layer.ALPHA)),
    ),
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
    Fault(
        "thresholded_linear_unit.zero_threshold",
        "thresholded_linear_unit",
        "a plain ReLU: the learned threshold left out",
        surrounded(ThresholdedLinearUnit(), _IMAGE),
        operation=other_weights(lambda layer, name, a: np.zeros_like(a)),
    ),
    Fault(
        "hardmax.axis",
        "hardmax",
        "the maximum along the last axis (ONNX's default) and not over channels",
        surrounded(Hardmax(), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, axis=-1)),
    ),
)
