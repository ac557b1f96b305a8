"""Faults of frozen normalisation and of dropping channels and branches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.base import Arrays, Fault, other_layer, other_outputs
from cnnbench.numerics.faults.configurations import Surroundings, surrounded
from cnnbench.spec.layers import BatchNorm, FrozenBatchNorm, SpatialDropout, StochasticDepth

_IMAGE = Surroundings((4, 5, 6))
_QUIET = replace(_IMAGE, variance=(0.005, 0.02))


def _unscaled(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0] * (1 - layer.p) if call.training else outputs[0],)


def _batch_statistics(right: Operation, table: Operations) -> Operation:
    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        other = BatchNorm(eps=layer.eps)
        training = call._replace(training=True)
        return OpResult(table["batch_norm"].forward(other, inputs, weights[:2], weights[2:], training).outputs)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "frozen_batch_norm.no_eps",
        "frozen_batch_norm",
        "no epsilon (torchvision before 0.10) where 1e-5 was asked for",
        surrounded(FrozenBatchNorm(), _QUIET),
        operation=other_layer(lambda layer: replace(layer, eps=0.0)),
    ),
    Fault(
        "frozen_batch_norm.batch_statistics",
        "frozen_batch_norm",
        "normalised by the batch, as in training, where the statistics were to be fixed",
        surrounded(FrozenBatchNorm(), _IMAGE),
        operation=_batch_statistics,
    ),
    Fault(
        "stochastic_depth.not_scaled",
        "stochastic_depth",
        "a kept branch not scaled by 1 / (1 - p) at training",
        surrounded(StochasticDepth(p=0.3), replace(_IMAGE, batch=6)),
        operation=other_outputs(_unscaled),
    ),
    Fault(
        "spatial_dropout.keep_probability",
        "spatial_dropout",
        "p taken as the probability of keeping",
        surrounded(SpatialDropout(p=0.3), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, p=1 - layer.p)),
    ),
)
