"""Faults of values that are joined: axes, orders, operands left out."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_operands, other_outputs
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.numerics.faults.engine.operands import FedOperands, fed, positive
from cnnbench.spec.layers import Add, Concat
from cnnbench.spec.layers.merge import Divide, Maximum, Mean, Multiply, Select, Subtract

_IMAGE = ((4, 8, 10),)
_CUBE = (4, 4, 4)
_GATE = (4, 1, 1)
_AROUND = SuspectNetwork((4, 8, 8), inputs=2)


def _along_another_axis(right: Operation, table: Operations) -> Operation:
    """The gate's values moved from the channel axis to a spatial one of the same size."""
    change = table["layout_change"]

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        to = LayoutChange(to="canonical" if call.channels_last else "channels_last")
        moved = change.forward(to, inputs[1:], (), (), call).outputs
        return right.forward(layer, (inputs[0], *moved), weights, state, call)

    return Operation(forward, right.backward, right.weight_layout)


def _reversed(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return tuple(reversed(inputs)), weights, state, call


def _branches_exchanged(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (inputs[0], inputs[2], inputs[1]), weights, state, call


def _kept_from_zero(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (inputs[0], inputs[1] + 1e-3), weights, state, call


def _one_less(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0] * (len(inputs) / (len(inputs) - 1)),)


def _first_twice(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (inputs[0], *inputs[:-1]), weights, state, call


FAULTS = (
    Fault(
        "multiply.wrong_axis",
        "multiply",
        "a gate of one value a channel repeated along another axis of the same size (layouts mixed up)",
        fed(Multiply(), FedOperands((_CUBE, _GATE))),
        operation=_along_another_axis,
    ),
    Fault(
        "add.wrong_axis",
        "add",
        "a bias of one value a channel added along another axis of the same size",
        fed(Add(broadcast=True), FedOperands((_CUBE, _GATE))),
        operation=_along_another_axis,
    ),
    Fault(
        "subtract.reversed",
        "subtract",
        "b - a for a - b",
        fed(Subtract(), FedOperands(_IMAGE * 2)),
        operation=other_operands(_reversed),
    ),
    Fault(
        "divide.epsilon",
        "divide",
        "a small number added to the divisor where none was asked for",
        fed(Divide(), FedOperands(_IMAGE * 2, positive)),
        operation=other_operands(_kept_from_zero),
    ),
    Fault(
        "maximum.missing_operand",
        "maximum",
        "the largest of all but the last value",
        fed(Maximum(), FedOperands(_IMAGE * 3)),
        operation=other_operands(
            lambda layer, inputs, weights, state, call: ((*inputs[:-1], inputs[0]), weights, state, call)
        ),
    ),
    Fault(
        "mean.wrong_count",
        "mean",
        "the sum of k values divided by k - 1",
        fed(Mean(), FedOperands(_IMAGE * 3)),
        operation=other_outputs(_one_less),
    ),
    Fault(
        "select.branches_exchanged",
        "select",
        "the value for true where the condition is false",
        fed(Select(), FedOperands(_IMAGE * 3)),
        operation=other_operands(_branches_exchanged),
    ),
    Fault(
        "add.missing_shortcut",
        "add",
        "the residual branch added to itself and not to the shortcut",
        surrounded(Add(), _AROUND),
        operation=other_operands(_first_twice),
    ),
    Fault(
        "concat.reversed",
        "concat",
        "branches joined in reverse order",
        surrounded(Concat(), _AROUND),
        operation=other_operands(_reversed),
    ),
)
