"""Faults of dropout: scales and probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer, other_outputs
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers import Dropout, StochasticDepth

_IMAGE = SuspectNetwork((4, 5, 6))
_SQUARE = SuspectNetwork((4, 8, 8))


def _unscaled(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0] * (1 - layer.p) if call.training else outputs[0],)


FAULTS = (
    Fault(
        "dropout.not_inverted",
        "dropout",
        "kept values not scaled by 1 / (1 - p) at training (dropout as first published)",
        surrounded(Dropout(p=0.3), _SQUARE),
        operation=other_outputs(_unscaled),
    ),
    Fault(
        "dropout.keep_probability",
        "dropout",
        "p taken as the probability of keeping (TensorFlow 1's keep_prob)",
        surrounded(Dropout(p=0.3), _SQUARE),
        operation=other_layer(lambda layer: replace(layer, p=1 - layer.p)),
    ),
    Fault(
        "stochastic_depth.not_scaled",
        "stochastic_depth",
        "a kept branch not scaled by 1 / (1 - p) at training",
        surrounded(StochasticDepth(p=0.3), replace(_IMAGE, batch=6)),
        operation=other_outputs(_unscaled),
    ),
)
