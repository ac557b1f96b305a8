"""Update rules that ``torch.optim`` does not have, or not at this precision; slots have the specification's names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from cnnbench.spec.optimizers import Adagrad, Adam, RMSprop


class WrittenRule(torch.optim.Optimizer):
    """Updates each parameter by ``move``, in float32 where it is narrower."""

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    wide = torch.promote_types(parameter.dtype, torch.float32)
                    weight, gradient = parameter.to(wide), parameter.grad.to(wide)
                    move = self.move(weight, gradient, self.state[parameter], group["weight_decay"])
                    parameter.copy_(weight - group["lr"] * move)

    def move(self, weight: Tensor, gradient: Tensor, state: dict[str, Any], decay: float) -> Tensor:
        """What the rate multiplies; changes the state.

        Args:
            weight: At least float32.
            gradient: Of the same type.
            state: Its slots; nothing before the first step.
            decay: The coefficient of its group.
        """
        raise NotImplementedError


def root(square: Tensor, rule: RMSprop | Adagrad) -> Tensor:
    """The divisor, with epsilon where the rule has it."""
    return (square + rule.epsilon).sqrt() if rule.epsilon_place == "inside" else square.sqrt() + rule.epsilon


def slot(state: dict[str, Any], name: str, like: Tensor) -> Tensor:
    """A slot of the state, zeros at first.

    Args:
        state: Of one parameter.
        name: The slot's.
        like: Says shape and type.
    """
    return state.setdefault(name, torch.zeros_like(like))


class WrittenAdam(WrittenRule):
    """Adam and AdamW with every place of epsilon, with or without bias correction."""

    def __init__(self, groups: Iterable[dict[str, Any]], optimizer: Adam) -> None:
        super().__init__(groups)
        self.optimizer = optimizer

    def move(self, weight: Tensor, gradient: Tensor, state: dict[str, Any], decay: float) -> Tensor:
        rule = self.optimizer
        state["step"] = count = float(state.get("step", 0.0)) + 1
        if decay and not rule.decoupled:
            gradient = gradient + decay * weight
        mean = slot(state, "mean", weight).mul_(rule.beta1).add_(gradient, alpha=1 - rule.beta1)
        square = slot(state, "square", weight).mul_(rule.beta2).addcmul_(gradient, gradient, value=1 - rule.beta2)
        first, second = ((1 - beta**count) if rule.bias_correction else 1.0 for beta in (rule.beta1, rule.beta2))
        if rule.epsilon_place == "inside":
            divisor = (square / second + rule.epsilon).sqrt()
        else:
            epsilon = rule.epsilon / (math.sqrt(second) if rule.epsilon_place == "uncorrected" else 1.0)
            divisor = (square / second).sqrt() + epsilon
        move = mean / first / divisor
        return move + decay * weight if decay and rule.decoupled else move


class WrittenRMSprop(WrittenRule):
    """RMSprop with every place of epsilon."""

    def __init__(self, groups: Iterable[dict[str, Any]], optimizer: RMSprop) -> None:
        super().__init__(groups)
        self.optimizer = optimizer

    def move(self, weight: Tensor, gradient: Tensor, state: dict[str, Any], decay: float) -> Tensor:
        rule = self.optimizer
        gradient = gradient + decay * weight
        kept, new = rule.smoothing, 1 - rule.smoothing
        spread = slot(state, "square", weight).mul_(kept).addcmul_(gradient, gradient, value=new)
        if rule.centered:
            mean = slot(state, "mean", weight).mul_(kept).add_(gradient, alpha=new)
            spread = spread - mean * mean
        move = gradient / root(spread, rule)
        return slot(state, "momentum", weight).mul_(rule.momentum).add_(move).clone() if rule.momentum else move


class WrittenAdagrad(WrittenRule):
    """Adagrad with every place of epsilon."""

    def __init__(self, groups: Iterable[dict[str, Any]], optimizer: Adagrad) -> None:
        super().__init__(groups)
        self.optimizer = optimizer

    def move(self, weight: Tensor, gradient: Tensor, state: dict[str, Any], decay: float) -> Tensor:
        gradient = gradient + decay * weight
        total = state.setdefault("sum", torch.full_like(weight, self.optimizer.initial))
        return gradient / root(total.addcmul_(gradient, gradient), self.optimizer)
