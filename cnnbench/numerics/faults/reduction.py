"""Faults of reductions: counts, axes, accumulators, ties."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer, other_outputs, rounded
from cnnbench.numerics.faults.engine.operands import FedOperands, far, fed, positive, whole
from cnnbench.spec.layers.arithmetic import Elementwise
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, TopK

_IMAGE = ((4, 8, 10),)
_CUBE = ((4, 4, 4),)


def _unbiased(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    """Divided by one less than the number of values, as an estimate of a variance is."""
    count = math.prod(int(size) for size in inputs[0].shape) // math.prod(int(size) for size in outputs[0].shape)
    return (outputs[0] * (count / (count - 1)),)


def _narrow_sum(right: Operation, table: Operations) -> Operation:
    """A sum along the last axis in an accumulator of eight bits."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        x = inputs[0]
        total = x[:, 0:1]
        for position in range(1, int(x.shape[1])):
            total = rounded(total + x[:, position : position + 1], 8)
        return result._replace(outputs=(total,))

    return Operation(forward, right.backward, right.weight_layout)


def _unstable(right: Operation, table: Operations) -> Operation:
    """log(sum(exp(x))) as it is written."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        apply = table["elementwise"].forward
        result = right.forward(layer, inputs, weights, state, call)
        powers = apply(Elementwise(function="exp"), inputs, (), (), call).outputs
        total = right.forward(replace(layer, function="sum"), powers, weights, state, call).outputs
        return result._replace(outputs=apply(Elementwise(function="log"), total, (), (), call).outputs)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "reduce.mean_wrong_count",
        "reduce",
        "a mean over one value less than there are",
        fed(Reduce(function="mean", axes=(2, 3)), FedOperands(_IMAGE)),
        operation=other_outputs(_unbiased),
    ),
    Fault(
        "reduce.axis_of_layout",
        "reduce",
        "the last axis reduced where channels were meant (channels-last code on channels-first data)",
        fed(Reduce(function="sum", axes=(1,), keepdims=False), FedOperands(_CUBE)),
        operation=other_layer(lambda layer: replace(layer, axes=(3,))),
    ),
    Fault(
        "reduce.bfloat16_accumulator",
        "reduce",
        "a sum of positive values held in bfloat16, which stops growing",
        fed(Reduce(function="sum", axes=(1,)), FedOperands(((300,),), positive)),
        operation=_narrow_sum,
    ),
    Fault(
        "reduce.unstable_log_sum_exp",
        "reduce",
        "log(sum(exp(x))) without the maximum taken out: infinite from 89 on",
        fed(Reduce(function="log_sum_exp", axes=(1,)), FedOperands(((6, 5),), far)),
        operation=_unstable,
    ),
    Fault(
        "reduce.norm_squared",
        "reduce",
        "the sum of squares for the Euclidean norm",
        fed(Reduce(function="l2", axes=(1,)), FedOperands(_IMAGE)),
        operation=other_layer(lambda layer: replace(layer, function="sum_square")),
    ),
    Fault(
        "reduce.signed_l1",
        "reduce",
        "the sum for the sum of magnitudes",
        fed(Reduce(function="l1", axes=(1,)), FedOperands(_IMAGE)),
        operation=other_layer(lambda layer: replace(layer, function="sum")),
    ),
    Fault(
        "arg_reduce.last_of_equals",
        "arg_reduce",
        "the last of several equal values where the first was asked for",
        fed(ArgReduce(function="argmax", axis=1), FedOperands(((9,),), whole, batch=8)),
        operation=other_layer(lambda layer: replace(layer, select_last_index=True)),
    ),
    Fault(
        "top_k.smallest",
        "top_k",
        "the smallest values for the largest",
        fed(TopK(k=3), FedOperands(((9,),))),
        operation=other_layer(lambda layer: replace(layer, largest=False)),
    ),
)
