"""Faults of plain activations: another axis, another scale, none at all; NaN that is lost, formulas that overflow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import (
    Arrays,
    Fault,
    choose,
    other_gradient,
    other_layer,
    other_operands,
    other_outputs,
)
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.numerics.faults.engine.operands import FedOperands, fed, whole
from cnnbench.spec.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax
from cnnbench.spec.layers.arithmetic import Elementwise
from cnnbench.spec.layers.merge import Divide
from cnnbench.spec.layers.reduction import Reduce

_IMAGE = SuspectNetwork((4, 8, 7))
_SQUARE = SuspectNetwork((4, 8, 8))


def _fits(x: Any) -> Any:
    """Below 127, or NaN."""
    return (x < 127) | (x != x)


def _by_parts(forward: Any) -> Any:
    """The op made of other ops of the backend: (table, layer, x, call) -> value."""

    def build(right: Operation, table: Operations) -> Operation:
        def changed(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            return OpResult((forward(table, layer, inputs[0], call),))

        return Operation(changed, right.backward, right.weight_layout)

    return build


def _applied(table: Operations, layer: Any, inputs: Arrays, call: Call) -> Any:
    return table[layer.kind].forward(layer, inputs, (), (), call).outputs[0]


def _plain_softmax(table: Operations, layer: Softmax, x: Any, call: Call) -> Any:
    exponentials = _applied(table, Elementwise(function="exp"), (x,), call)
    total = _applied(table, Reduce(function="sum", axes=(layer.axis,)), (exponentials,), call)
    return _applied(table, Divide(), (exponentials, total), call)


def _log_of_softmax(table: Operations, layer: LogSoftmax, x: Any, call: Call) -> Any:
    return _applied(table, Elementwise(function="log"), (_applied(table, Softmax(axis=layer.axis), (x,), call),), call)


def _clamped(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return (choose(inputs[0] > -15.0, inputs[0], -15.0),), weights, state, call


FAULTS = (
    Fault(
        "sigmoid.clamped",
        "sigmoid",
        "arguments below -15 cut off to keep exp within its range",
        surrounded(Sigmoid(), _SQUARE),
        operation=other_operands(_clamped),
    ),
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
        surrounded(Softmax(), SuspectNetwork((4, 5, 5))),
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
    Fault(
        "relu.swallows_nan",
        "relu",
        "0 for NaN, as by a maximum that passes over it (oneDNN's fused ReLU, XLA's maximum within a sum)",
        surrounded(ReLU(), _SQUARE),
        check="special",
        operation=other_outputs(lambda layer, inputs, outputs, call: (choose(inputs[0] > 0, outputs[0], 0.0),)),
    ),
    Fault(
        "relu.saturates_at_127",
        "relu",
        "values above 127 cut off, as by a range of eight bits",
        surrounded(ReLU(), _SQUARE),
        check="special",
        operation=other_outputs(lambda layer, inputs, outputs, call: (choose(_fits(outputs[0]), outputs[0], 127.0),)),
    ),
    Fault(
        "relu.leaks_between_images",
        "relu",
        "what the first image holds reaches the others, times 0: a buffer that is shared by all of a batch",
        surrounded(ReLU(), _SQUARE),
        check="special",
        operation=other_outputs(lambda layer, inputs, outputs, call: (outputs[0] + 0.0 * outputs[0][:1],)),
    ),
    Fault(
        "relu.gradient_explodes_at_zero",
        "relu",
        "a slope of a million at exactly 0, as by 1 / |x| with a floor",
        fed(ReLU(), FedOperands(((4, 8, 8),), whole)),
        check="gradient",
        operation=other_gradient(
            lambda layer, x, y, call: choose(x == 0, x, 0.0) * 1e6, lambda layer, x, y, g, call: (x == 0) * g * 1e6
        ),
    ),
    Fault(
        "softmax.without_maximum",
        "softmax",
        "exponentials of the values themselves, which overflow above 88, and not of their distance to the largest",
        surrounded(Softmax(), _SQUARE),
        check="special",
        operation=_by_parts(_plain_softmax),
    ),
    Fault(
        "log_softmax.of_softmax",
        "log_softmax",
        "the logarithm of softmax, minus infinity wherever that is 0",
        surrounded(LogSoftmax(), _SQUARE),
        check="special",
        operation=_by_parts(_log_of_softmax),
    ),
)
