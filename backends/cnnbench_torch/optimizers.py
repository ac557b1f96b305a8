"""Optimisers on ``torch.optim``: (optimizer, parameters, decays) -> the rule; slots have the names of the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnbench.execution.optimizers import OptimizerRules
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from cnnbench_torch.written import WrittenAdagrad, WrittenAdam, WrittenRMSprop, WrittenRule

_ADAM = {"mean": "exp_avg", "square": "exp_avg_sq", "step": "step"}
_SLOTS = {  # slot of the spec -> key of the optimiser's state
    "sgd": {"momentum": "momentum_buffer", "started": "momentum_buffer"},
    "adam": _ADAM,
    "adamw": _ADAM,
    "rmsprop": {"square": "square_avg", "mean": "grad_avg", "momentum": "momentum_buffer"},
    "adagrad": {"sum": "sum"},
}


OPTIMIZERS = OptimizerRules("torch", clips=True, accumulates=True)


def _groups(parameters: Sequence[Tensor], decays: Sequence[bool], weight_decay: float) -> list[dict[str, Any]]:
    """A parameter group that decays and one that does not, where they are not empty."""
    groups = [
        {"params": [p for p, decay in zip(parameters, decays, strict=True) if decay is group], "weight_decay": rate}
        for group, rate in ((True, weight_decay), (False, 0.0))
    ]
    return [group for group in groups if group["params"]]


@OPTIMIZERS.register("sgd")
def sgd(optimizer: SGD, parameters: Sequence[Tensor], decays: Sequence[bool]) -> torch.optim.Optimizer:
    """``torch.optim.SGD``.

    Its momentum starts as the first gradient, which is what a buffer of zeros becomes unless it is damped; PyTorch
    keeps the rate outside of the buffer, as the spec does.

    Args:
        optimizer: The rule's own fields.
        parameters: All that are trained.
        decays: Whether each of them decays.
    """
    rule = torch.optim.SGD(
        _groups(parameters, decays, optimizer.weight_decay),
        lr=0.0,  # each step sets it
        momentum=optimizer.momentum,
        nesterov=optimizer.nesterov and optimizer.momentum > 0,  # without momentum both forms are the same
        dampening=optimizer.dampening,
    )
    if optimizer.damp_first and optimizer.dampening:
        for parameter in parameters:
            rule.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}
    return rule


@OPTIMIZERS.register("adam")
@OPTIMIZERS.register("adamw")
def adam(optimizer: Adam | AdamW, parameters: Sequence[Tensor], decays: Sequence[bool]) -> torch.optim.Optimizer:
    """``torch.optim.Adam`` or ``AdamW`` where epsilon stands as in them and parameters are float32 or float64.

    Their slots have the parameters' type, in which a running mean with 0.999 would be none; and they always correct
    the bias. What they cannot do is written out.
    """
    groups = _groups(parameters, decays, optimizer.weight_decay)
    narrow = parameters[0].dtype not in (torch.float32, torch.float64)
    if narrow or optimizer.epsilon_place != "outside" or not optimizer.bias_correction:
        return WrittenAdam(groups, optimizer)
    make = torch.optim.AdamW if optimizer.decoupled else torch.optim.Adam
    return make(groups, lr=0.0, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.epsilon)


@OPTIMIZERS.register("rmsprop")
def rmsprop(optimizer: RMSprop, parameters: Sequence[Tensor], decays: Sequence[bool]) -> torch.optim.Optimizer:
    """``torch.optim.RMSprop`` where epsilon stands as in it and parameters are float32 or float64."""
    groups = _groups(parameters, decays, optimizer.weight_decay)
    if parameters[0].dtype not in (torch.float32, torch.float64) or optimizer.epsilon_place != "outside":
        return WrittenRMSprop(groups, optimizer)
    return torch.optim.RMSprop(
        groups,
        lr=0.0,
        alpha=optimizer.smoothing,
        eps=optimizer.epsilon,
        momentum=optimizer.momentum,
        centered=optimizer.centered,
    )


@OPTIMIZERS.register("adagrad")
def adagrad(optimizer: Adagrad, parameters: Sequence[Tensor], decays: Sequence[bool]) -> torch.optim.Optimizer:
    """``torch.optim.Adagrad`` where epsilon stands as in it and parameters are float32 or float64."""
    groups = _groups(parameters, decays, optimizer.weight_decay)
    if parameters[0].dtype not in (torch.float32, torch.float64) or optimizer.epsilon_place != "outside":
        return WrittenAdagrad(groups, optimizer)
    return torch.optim.Adagrad(groups, lr=0.0, initial_accumulator_value=optimizer.initial, eps=optimizer.epsilon)


def set_rate(rule: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the rate of every group for the next step."""
    for group in rule.param_groups:
        group["lr"] = learning_rate


def read_slots(optimizer: Optimizer, rule: torch.optim.Optimizer | None, parameter: Tensor) -> dict[str, Tensor]:
    """The slots of one weight; zeros where the optimiser keeps none (yet).

    Args:
        optimizer: The rule of the specification.
        rule: PyTorch's; None where nothing is trained.
        parameter: The weight.
    """
    held = {} if rule is None else rule.state.get(parameter, {})
    wide = torch.promote_types(parameter.dtype, torch.float32) if optimizer.wide_slots else parameter.dtype
    found = {}
    for slot in optimizer.slots:
        value = held.get(_key(optimizer, rule, slot))
        if slot == "started":
            found[slot] = torch.tensor(int(value is not None))
        elif slot in optimizer.counters:
            found[slot] = torch.tensor(0 if value is None else int(value))
        else:
            start = torch.full_like(parameter, optimizer.start(slot), dtype=wide, requires_grad=False)
            found[slot] = start if value is None else value
    return found


def write_slots(
    optimizer: Optimizer, rule: torch.optim.Optimizer, parameter: Tensor, slots: Mapping[str, Tensor]
) -> None:
    """Starts one weight's slots from the given values.

    Args:
        optimizer: The rule of the specification.
        rule: PyTorch's.
        parameter: The weight.
        slots: By the specification's names.
    """
    if "started" in slots:  # a buffer that is there says so
        if not int(slots["started"]):
            return
        slots = {"momentum": slots["momentum"]}
    # the count that some of PyTorch's rules keep and do not use must be there
    count = {} if isinstance(rule, WrittenRule) or optimizer.kind == "sgd" else {"step": torch.tensor(0.0)}
    rule.state[parameter] = count | {
        _key(optimizer, rule, slot): torch.tensor(float(value)) if slot in optimizer.counters else value
        for slot, value in slots.items()
    }


def _key(optimizer: Optimizer, rule: torch.optim.Optimizer | None, slot: str) -> str:
    return slot if isinstance(rule, WrittenRule) else _SLOTS[optimizer.kind][slot]


def clip(clipping: Clipping, parameters: Sequence[Tensor], units: Sequence[tuple[int, ...] | None]) -> None:
    """Clips the gradients of all trained weights in place; norms are never narrower than float32.

    Args:
        clipping: How.
        parameters: With their gradients.
        units: ``clipped_units``.
    """
    if clipping.kind == "value":
        torch.nn.utils.clip_grad_value_(parameters, clipping.limit)
    elif clipping.kind == "adaptive":
        for parameter, axes in zip(parameters, units, strict=True):
            if axes is not None and parameter.grad is not None:
                _clip_units(clipping, parameter.detach(), parameter.grad, axes)
    else:
        for together in [parameters] if clipping.kind == "global_norm" else [[each] for each in parameters]:
            _clip_norm(clipping, together)


def _clip_norm(clipping: Clipping, parameters: Sequence[Tensor]) -> None:
    """``torch.nn.utils.clip_grad_norm_`` where epsilon is its own and it computes in the gradients' type."""
    if clipping.floor == 1e-6 and parameters[0].dtype in (torch.float32, torch.float64):
        torch.nn.utils.clip_grad_norm_(parameters, clipping.limit)
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    wide = torch.promote_types(parameters[0].dtype, torch.float32)
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g, dtype=wide) for g in gradients]))
    share = clipping.limit / (norm + clipping.floor).clamp(min=clipping.limit)
    for gradient in gradients:
        gradient.mul_(share.to(gradient.dtype))


def _clip_units(clipping: Clipping, weight: Tensor, gradient: Tensor, axes: tuple[int, ...]) -> None:
    wide = torch.promote_types(gradient.dtype, torch.float32)
    sizes = [torch.linalg.vector_norm(a, dim=axes, keepdim=True, dtype=wide) for a in (weight, gradient)]
    most = clipping.limit * sizes[0].clamp(min=clipping.floor)
    gradient.mul_((most / torch.maximum(most, sizes[1])).to(gradient.dtype))
