"""Faults of functions of single values: rounding, limits, exponents."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, OperationChange, other_layer
from cnnbench.numerics.faults.engine.operands import FedOperands, fed, halves, positive
from cnnbench.spec.layers import Tanh
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Power

_IMAGE = ((4, 8, 10),)


def _by_parts(compute: Callable[[Callable[[str, Any], Any], Any, Any], Any]) -> OperationChange:
    """The op made of others: (apply a function of this name, the layer, its first input) -> output."""

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            def apply(function: str, x: Any) -> Any:
                return right.forward(Elementwise(function=function), (x,), (), (), call).outputs[0]  # type: ignore[arg-type]

            result = right.forward(layer, inputs, weights, state, call)
            return result._replace(outputs=(compute(apply, layer, inputs[0]),))

        return Operation(forward, right.backward, right.weight_layout)

    return build


def _away_from_zero(apply: Callable[[str, Any], Any], layer: Any, x: Any) -> Any:
    if layer.function != "round":
        return apply(layer.function, x)
    return apply("sign", x) * apply("floor", apply("abs", x) + 0.5)


def _truncated(apply: Callable[[str, Any], Any], layer: Any, x: Any) -> Any:
    if layer.function != "floor":
        return apply(layer.function, x)
    return apply("sign", x) * apply("floor", apply("abs", x))


def _as_tanh(right: Operation, table: Operations) -> Operation:
    """erf(x) as GELU's tanh form has it."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        z = inputs[0] * math.sqrt(2)
        inner = (z + z * z * z * 0.044715) * math.sqrt(2 / math.pi)
        return result._replace(outputs=table["tanh"].forward(Tanh(), (inner,), (), (), call).outputs)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "elementwise.round_half_away",
        "elementwise",
        "halves rounded away from zero (C's round) and not to the even neighbour",
        fed(Elementwise(function="round"), FedOperands(_IMAGE, halves)),
        operation=_by_parts(_away_from_zero),
    ),
    Fault(
        "elementwise.floor_truncates",
        "elementwise",
        "floor as a cast to an integer, which cuts negative numbers towards zero",
        fed(Elementwise(function="floor"), FedOperands(_IMAGE)),
        operation=_by_parts(_truncated),
    ),
    Fault(
        "elementwise.erf_as_tanh",
        "elementwise",
        "the error function by the tanh of GELU's approximation",
        fed(Elementwise(function="erf"), FedOperands(_IMAGE)),
        operation=_as_tanh,
    ),
    Fault(
        "scalar_affine.shift_scaled",
        "scalar_affine",
        "scale * (x + shift) for scale * x + shift",
        fed(Affine(scale=3.0, shift=-0.5), FedOperands(_IMAGE)),
        operation=other_layer(
            lambda layer: replace(layer, shift=layer.shift * layer.scale) if layer.shift == -0.5 else layer
        ),
    ),
    Fault(
        "clip.no_maximum",
        "clip",
        "a clip with its upper limit left out (ReLU for ReLU6)",
        fed(Clip(minimum=0.0, maximum=0.5), FedOperands(_IMAGE)),
        operation=other_layer(lambda layer: replace(layer, maximum=None)),
    ),
    Fault(
        "scalar_power.reciprocal_exponent",
        "scalar_power",
        "the root for the power",
        fed(Power(exponent=3.0), FedOperands(_IMAGE, positive)),
        operation=other_layer(lambda layer: replace(layer, exponent=1 / layer.exponent)),
    ),
)
