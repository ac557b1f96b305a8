"""Faults of batch normalisation: epsilon, momentum, variances, modes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import (
    Arrays,
    Fault,
    OperationChange,
    dropped,
    ones,
    other_layer,
    other_operands,
    zeros,
)
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers import BatchNorm, ChannelAffine, FrozenBatchNorm, ReLU

_PLAIN = surrounded(BatchNorm(), SuspectNetwork((4, 5, 5)))
_IMAGE = SuspectNetwork((4, 5, 6))
_FROZEN = SuspectNetwork((4, 5, 6), variance=(0.005, 0.02))
_QUIET = surrounded(BatchNorm(eps=1e-3), SuspectNetwork((4, 5, 5), variance=(0.005, 0.02)))


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


class _Arrays(NamedTuple):
    scale: Any
    shift: Any
    mean: Any
    variance: Any


def _other_arrays(change: Callable[[_Arrays], _Arrays]) -> OperationChange:
    """Other scales, shifts, means and variances, whether the layer holds these two as state or as fixed weights."""

    def changed(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
        found = change(_Arrays(*weights, *state))
        return inputs, found[: len(weights)], found[len(weights) :], call

    return other_operands(changed)


WRONG_ARRAYS: dict[str, tuple[str, Callable[[_Arrays], _Arrays]]] = {
    "mean_ignored": ("the mean taken as 0", lambda a: a._replace(mean=zeros(a.mean))),
    "mean_negated": ("the mean added and not subtracted", lambda a: a._replace(mean=-a.mean)),
    "mean_squared": ("the square of the mean subtracted", lambda a: a._replace(mean=a.mean * a.mean)),
    "variance_ignored": ("the variance taken as 1", lambda a: a._replace(variance=ones(a.variance))),
    "scale_ignored": ("the scale taken as 1", lambda a: a._replace(scale=ones(a.scale))),
    "scale_without_sign": ("the magnitude of the scale", lambda a: a._replace(scale=(a.scale * a.scale) ** 0.5)),
    "shift_ignored": ("the shift taken as 0", lambda a: a._replace(shift=zeros(a.shift))),
    "shift_before_scale": ("shift added before the scale", lambda a: a._replace(shift=a.shift * a.scale)),
    "mean_and_shift_exchanged": (
        "mean and shift exchanged (arrays read by position)",
        lambda a: a._replace(mean=a.shift, shift=a.mean),
    ),
    "all_in_reverse": (
        "all four arrays in the reverse order",
        lambda a: _Arrays(a.variance, a.mean, a.shift, a.scale * a.scale),
    ),
}


def _batch_statistics(right: Operation, table: Operations) -> Operation:
    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        other = BatchNorm(eps=layer.eps)
        training = call._replace(training=True)
        return OpResult(table["batch_norm"].forward(other, inputs, weights[:2], weights[2:], training).outputs)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    *(
        replace(item, node="before0")  # which is the first of the kind
        for item in dropped(ChannelAffine(), surrounded(ReLU(), _IMAGE), {"weight": "scale", "bias": "shift"})
    ),
    *(
        Fault(f"{kind}.{name}", kind, what, case, operation=_other_arrays(change))
        for kind, case in (("batch_norm", _PLAIN), ("frozen_batch_norm", surrounded(FrozenBatchNorm(), _IMAGE)))
        for name, (what, change) in WRONG_ARRAYS.items()
    ),
    Fault(
        "batch_norm.wrong_eps",
        "batch_norm",
        "Keras' epsilon of 1e-3 where 1e-5 was asked for",
        _PLAIN,
        operation=other_layer(lambda layer: replace(layer, eps=1e-3)),
    ),
    Fault(
        "batch_norm.eps_off_by_a_thousandth",
        "batch_norm",
        "an epsilon of 1.001e-5, which shows only beside variances as small",
        _PLAIN,
        operation=other_layer(lambda layer: replace(layer, eps=1.001 * layer.eps)),
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
