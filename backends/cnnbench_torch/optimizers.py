"""Optimisers on ``torch.optim``: (optimizer, parameters, decays) -> the rule; slots have the names of the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.optimizers import SGD, Optimizer

_SLOTS = {"sgd": {"momentum": "momentum_buffer"}}  # slot of the spec -> key of the optimiser's state


OPTIMIZERS = OptimizerRules("torch")


@OPTIMIZERS.register("sgd")
def sgd(optimizer: SGD, parameters: Sequence[Tensor], decays: Sequence[bool]) -> torch.optim.Optimizer:
    """``torch.optim.SGD`` with a parameter group that decays and one that does not.

    Its momentum starts as the first gradient, which is what a buffer of zeros becomes; PyTorch keeps the rate
    outside of the buffer, as the spec does.
    """
    groups = [
        {"params": [p for p, decay in zip(parameters, decays, strict=True) if decay is group], "weight_decay": rate}
        for group, rate in ((True, optimizer.weight_decay), (False, 0.0))
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=0.0,  # each step sets it
        momentum=optimizer.momentum,
        nesterov=optimizer.nesterov and optimizer.momentum > 0,  # without momentum both forms are the same
    )


def set_rate(rule: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the rate of every group for the next step."""
    for group in rule.param_groups:
        group["lr"] = learning_rate


def read_slots(optimizer: Optimizer, rule: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """The slots of one weight; zeros where the optimiser keeps none (yet)."""
    held = rule.state.get(parameter, {})
    return {slot: _or_zeros(held.get(_SLOTS[optimizer.kind][slot]), parameter) for slot in optimizer.slots}


def _or_zeros(value: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if value is None else value


def write_slots(
    optimizer: Optimizer, rule: torch.optim.Optimizer, parameter: Tensor, slots: Mapping[str, Tensor]
) -> None:
    """Starts one weight's slots from the given values."""
    rule.state[parameter] = {_SLOTS[optimizer.kind][slot]: value for slot, value in slots.items()}
