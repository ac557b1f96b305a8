"""Faults of dropout and of stochastic depth: scales, probabilities, and what a mask is applied to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call
from cnnbench.numerics.faults.engine.base import (
    Arrays,
    Fault,
    OperationChange,
    other_layer,
    other_operands,
    other_outputs,
)
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers import Dropout, StochasticDepth

_IMAGE = SuspectNetwork((4, 5, 6))
_SQUARE = SuspectNetwork((4, 8, 8))


def _unscaled(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0] * (1 - layer.p) if call.training else outputs[0],)


def _masked(change: Callable[[Any, Call], Any]) -> OperationChange:
    """The op gets another mask in training."""

    def operands(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
        masks = tuple(change(mask, call) for mask in call.masks)
        return inputs, weights, state, call._replace(masks=masks)

    return other_operands(operands)


def _kept_dropped(mask: Any, call: Call) -> Any:
    return 1 - mask


def _first_image(mask: Any, call: Call) -> Any:
    return mask[:1] + 0 * mask


def _whole_channels(mask: Any, call: Call) -> Any:
    first = mask[:, :1, :1] if call.channels_last else mask[:, :, :1, :1]
    return first + 0 * mask


def _never(mask: Any, call: Call) -> Any:
    return 0 * mask + 1


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
    Fault(
        "dropout.kept_are_dropped",
        "dropout",
        "a mask of what is dropped read as one of what is kept",
        surrounded(Dropout(p=0.3), _SQUARE),
        operation=_masked(_kept_dropped),
    ),
    Fault(
        "dropout.whole_channels",
        "dropout",
        "one draw for all positions of a channel (Dropout2d where Dropout was meant)",
        surrounded(Dropout(p=0.3), _SQUARE),
        operation=_masked(_whole_channels),
    ),
    Fault(
        "dropout.one_mask_for_all",
        "dropout",
        "the first image's mask applied to the whole batch",
        surrounded(Dropout(p=0.3), _SQUARE),
        operation=_masked(_first_image),
    ),
    Fault(
        "stochastic_depth.kept_are_dropped",
        "stochastic_depth",
        "branches dropped whose mask says that they are kept",
        surrounded(StochasticDepth(p=0.3), replace(_IMAGE, batch=6)),
        operation=_masked(_kept_dropped),
    ),
    Fault(
        "stochastic_depth.one_draw_for_all",
        "stochastic_depth",
        "one draw for the batch (mode batch) where each image has its own",
        surrounded(StochasticDepth(p=0.5), replace(_IMAGE, batch=6)),
        operation=_masked(_first_image),
    ),
    Fault(
        "stochastic_depth.never_dropped",
        "stochastic_depth",
        "branches scaled by 1 / (1 - p) and never dropped",
        surrounded(StochasticDepth(p=0.3), replace(_IMAGE, batch=6)),
        operation=_masked(_never),
    ),
)
