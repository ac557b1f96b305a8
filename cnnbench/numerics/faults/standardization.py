"""Faults of normalisation by an image's own mean and variance: groups, epsilon, variances, axes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, dropped, other_layer, other_outputs
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, on_data, surrounded
from cnnbench.spec.layers import Concat, GlobalAvgPool
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm

_IMAGE = SuspectNetwork((6, 5, 4))
_TOKENS = SuspectNetwork((5, 12))


def _interleaved(right: Operation, table: Operations) -> Operation:
    """Group g of G gets channels g, g + G, g + 2 G ...; without weights, so that outputs alone move back."""

    def reorder(x: Any, order: list[int], call: Call) -> Any:
        axis = call.channel_axis(len(x.shape))
        parts = tuple(x[(slice(None),) * axis + (slice(i, i + 1),)] for i in order)
        return table["concat"].forward(Concat(), parts, (), (), call).outputs[0]

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        channels = int(inputs[0].shape[call.channel_axis(len(inputs[0].shape))])
        order = [i for g in range(layer.groups) for i in range(g, channels, layer.groups)]
        result = right.forward(layer, (reorder(inputs[0], order, call),), weights, state, call)
        back = [order.index(i) for i in range(channels)]
        return result._replace(outputs=(reorder(result.outputs[0], back, call),))

    return Operation(forward, right.backward, right.weight_layout)


def _epsilon_outside(right: Operation, table: Operations) -> Operation:
    """sqrt(v) + eps for sqrt(v + eps)."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        axes = tuple(range(layer.start_axis, len(inputs[0].shape)))
        other = MeanVarianceNorm(axes=axes, eps=layer.eps, eps_place="outside")
        y = table["mean_variance_norm"].forward(other, inputs, (), (), call).outputs[0]
        return OpResult((y * weights[0] + weights[1],))

    return Operation(forward, right.backward, right.weight_layout)


def _one_pass(right: Operation, table: Operations) -> Operation:
    """The variance as E[x^2] - E[x]^2, which cancels where the mean is large."""
    pool = table["global_avg_pool"].forward
    mean_of = GlobalAvgPool(keep_spatial=True)

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        x = inputs[0]
        mean = pool(mean_of, (x,), (), (), call).outputs[0]
        square = pool(mean_of, (x * x,), (), (), call).outputs[0]
        return OpResult(((x - mean) * (square - mean * mean + layer.eps) ** -0.5,))

    return Operation(forward, right.backward, right.weight_layout)


def _unbiased(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    shape = tuple(inputs[0].shape)
    channel = call.channel_axis(len(shape))
    count = math.prod(n for axis, n in enumerate(shape) if axis not in (0, channel))
    return (outputs[0] * math.sqrt((count - 1) / count),)


_AFFINE = {"weight": "scale", "bias": "shift"}

FAULTS = (
    *dropped(LayerNorm(), surrounded(LayerNorm(), _TOKENS), _AFFINE),
    *dropped(InstanceNorm(affine=True), surrounded(InstanceNorm(affine=True), _IMAGE), _AFFINE),
    *dropped(GroupNorm(groups=2), surrounded(GroupNorm(groups=2), _IMAGE), _AFFINE),
    Fault(
        "layer_norm.wrong_eps",
        "layer_norm",
        "Keras' epsilon of 1e-3 where a vision transformer's 1e-6 was asked for",
        surrounded(LayerNorm(eps=1e-6), _TOKENS),
        operation=other_layer(lambda layer: replace(layer, eps=1e-3)),
    ),
    Fault(
        "layer_norm.eps_outside",
        "layer_norm",
        "epsilon added to the standard deviation and not to the variance",
        on_data(LayerNorm(eps=1e-3), _TOKENS, mean=0.0, deviation=0.1),
        operation=_epsilon_outside,
    ),
    Fault(
        "group_norm.swapped_groups",
        "group_norm",
        "every G-th channel in a group where neighbouring channels were to be",
        surrounded(GroupNorm(groups=2, affine=False), _IMAGE),
        operation=_interleaved,
    ),
    Fault(
        "group_norm.group_size",
        "group_norm",
        "the number of groups taken for the number of channels in a group",
        surrounded(GroupNorm(groups=2), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, groups=3)),
    ),
    Fault(
        "instance_norm.unbiased_variance",
        "instance_norm",
        "the variance divided by n - 1",
        surrounded(InstanceNorm(), _IMAGE),
        operation=other_outputs(_unbiased),
    ),
    Fault(
        "instance_norm.one_pass_variance",
        "instance_norm",
        "the variance as E[x^2] - E[x]^2 (TensorFlow's fused op under XLA, PyTorch 2.13's group norm channels-last)",
        on_data(InstanceNorm(), _IMAGE, mean=1000.0, deviation=1.0),
        operation=_one_pass,
    ),
    Fault(
        "instance_norm.one_pass_beside_small_means",
        "instance_norm",
        "the same where the network's own values hide it: on hard operands alone it shows",
        surrounded(InstanceNorm(), _IMAGE),
        operation=_one_pass,
    ),
    Fault(
        "mean_variance_norm.eps_inside",
        "mean_variance_norm",
        "epsilon added to the variance and not to the standard deviation",
        surrounded(MeanVarianceNorm(eps=0.01), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, eps_place="inside")),
    ),
)
