"""Faults of matrix products: transposed weights, signs, narrow operands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call
from cnnbench.numerics.faults.engine.base import (
    Arrays,
    Fault,
    dropped,
    other_layer,
    other_operands,
    other_outputs,
    other_weights,
    rounded,
)
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.numerics.faults.engine.operands import FedOperands, fed
from cnnbench.spec.layers import Linear, RadialBasis
from cnnbench.spec.layers.linear import MatMul

_TABLE = SuspectNetwork((6,))


def _eight_bits(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return tuple(rounded(x, 8) for x in inputs), weights, state, call


_LONG = SuspectNetwork((25_088,))  # VGG's first linear layer


def _rounded_operands(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (rounded(inputs[0], 11),), (rounded(weights[0], 11), *weights[1:]), state, call


FAULTS = (
    Fault(
        "linear.tf32_of_long_sums",
        "linear",
        "operands rounded to TF32's 11 bits, which disappears in the rounding of 25,088 terms",
        surrounded(Linear(out_features=8), _LONG),
        check="exact",
        operation=other_operands(_rounded_operands),
    ),
    Fault(
        "linear.sums_of_sixteen_bits",
        "linear",
        "sums held in 16 bits, which small integers and a budget for 25,088 terms allow",
        surrounded(Linear(out_features=8), _LONG),
        check="exact",
        operation=other_outputs(lambda layer, inputs, outputs, call: (rounded(outputs[0], 16),)),
    ),
    *dropped(Linear(out_features=6), surrounded(Linear(out_features=6), _TABLE), {"bias": "bias"}),
    Fault(
        "linear.transposed",
        "linear",
        "the weight used as [in, out] where it is [out, in] and both agree in size",
        surrounded(Linear(out_features=6), _TABLE),
        operation=other_weights(lambda layer, name, a: np.ascontiguousarray(a.T) if name == "weight" else a),
    ),
    Fault(
        "radial_basis.sign",
        "radial_basis",
        "distances given where their negatives were to be logits",
        surrounded(RadialBasis(out_features=5, output="logit"), _TABLE),
        operation=other_layer(lambda layer: replace(layer, output="distance")),
    ),
    Fault(
        "matmul.transposed",
        "matmul",
        "the second matrix not transposed where it was to be, and is square",
        fed(MatMul(transpose_b=True), FedOperands(((2, 6, 6), (2, 6, 6)))),
        operation=other_layer(lambda layer: replace(layer, transpose_b=False)),
    ),
    Fault(
        "matmul.bfloat16_operands",
        "matmul",
        "operands rounded to bfloat16 before they are multiplied",
        fed(MatMul(), FedOperands(((2, 4, 300), (2, 300, 4)))),
        operation=other_operands(_eight_bits),
    ),
)
