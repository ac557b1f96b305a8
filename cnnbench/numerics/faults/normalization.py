"""Faults of batch normalisation: epsilon, momentum, variances, modes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer, other_operands
from cnnbench.numerics.faults.engine.configurations import Surroundings, surrounded
from cnnbench.spec.layers import BatchNorm, FrozenBatchNorm

_PLAIN = surrounded(BatchNorm(), Surroundings((4, 5, 5)))
_IMAGE = Surroundings((4, 5, 6))
_FROZEN = Surroundings((4, 5, 6), variance=(0.005, 0.02))
_QUIET = surrounded(BatchNorm(eps=1e-3), Surroundings((4, 5, 5), variance=(0.005, 0.02)))


def _epsilon_outside(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    """sqrt(v) + eps for sqrt(v + eps): the variance that makes the right op compute it."""
    mean, variance = state
    other = variance + variance**0.5 * (2 * layer.eps) + (layer.eps**2 - layer.eps)
    return inputs, weights, (mean, other), call


def _squared_variance(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return inputs, weights, (state[0], state[1] * state[1]), call


def _swapped_parameters(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return inputs, tuple(reversed(weights)), state, call


def _always_training(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return inputs, weights, state, call._replace(training=True)


def _batch_statistics(right: Operation, table: Operations) -> Operation:
    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        other = BatchNorm(eps=layer.eps)
        training = call._replace(training=True)
        return OpResult(table["batch_norm"].forward(other, inputs, weights[:2], weights[2:], training).outputs)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    Fault(
        "batch_norm.wrong_eps",
        "batch_norm",
        "Keras' epsilon of 1e-3 where 1e-5 was asked for",
        _PLAIN,
        operation=other_layer(lambda layer: replace(layer, eps=1e-3)),
    ),
    Fault(
        "batch_norm.eps_outside",
        "batch_norm",
        "epsilon added to the standard deviation and not to the variance",
        _QUIET,
        operation=other_operands(_epsilon_outside),
    ),
    Fault(
        "batch_norm.momentum_convention",
        "batch_norm",
        "momentum taken as the weight of the old statistics (Keras, flax) and not of the new (PyTorch)",
        _PLAIN,
        operation=other_layer(lambda layer: replace(layer, momentum=1 - layer.momentum)),
    ),
    Fault(
        "batch_norm.biased_running_variance",
        "batch_norm",
        "the biased batch variance stored as running variance (Keras, flax) where the unbiased was asked for",
        _PLAIN,
        operation=other_layer(lambda layer: replace(layer, running_variance="biased")),
    ),
    Fault(
        "batch_norm.squared_variance",
        "batch_norm",
        "the running variance taken for a standard deviation",
        _PLAIN,
        operation=other_operands(_squared_variance),
    ),
    Fault(
        "batch_norm.swapped_parameters",
        "batch_norm",
        "scale and shift exchanged (checkpoints read by position)",
        _PLAIN,
        operation=other_operands(_swapped_parameters),
    ),
    Fault(
        "batch_norm.training_mode_at_inference",
        "batch_norm",
        "batch statistics used at inference (model.eval() forgotten)",
        _PLAIN,
        operation=other_operands(_always_training),
    ),
    Fault(
        "frozen_batch_norm.no_eps",
        "frozen_batch_norm",
        "no epsilon (torchvision before 0.10) where 1e-5 was asked for",
        surrounded(FrozenBatchNorm(), _FROZEN),
        operation=other_layer(lambda layer: replace(layer, eps=0.0)),
    ),
    Fault(
        "frozen_batch_norm.batch_statistics",
        "frozen_batch_norm",
        "normalised by the batch, as in training, where the statistics were to be fixed",
        surrounded(FrozenBatchNorm(), _IMAGE),
        operation=_batch_statistics,
    ),
)
