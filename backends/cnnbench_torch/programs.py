"""Forward, gradient and step programs on PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnbench.errors import DataError, did_you_mean
from cnnbench.execution.contract import (
    ForwardProgram,
    GradientProgram,
    HostGradients,
    HostResult,
    HostTraining,
    StepProgram,
)
from cnnbench.execution.loading import BoundGraph
from cnnbench.spec.optimizers import Optimizer, decays
from cnnbench_torch.arrays import Placement, host
from cnnbench_torch.optimizers import make_optimizer, read_slots, set_rate, write_slots
from cnnbench_torch.walk import Operands, Passed, Walk

if TYPE_CHECKING:
    from cnnbench.execution.contract import HostArrays


@dataclass(frozen=True)
class Setting:
    """What every program of one compilation shares.

    Args:
        bound: The graph, bound.
        placement: Where its tensors live.
        walk: The walk in its mode.
        before_run: Sets the process-wide arithmetic flags of the program's policy.
        given_masks: Whether dropout masks come with the batch (else PyTorch draws them).
    """

    bound: BoundGraph
    placement: Placement
    walk: Walk
    before_run: Callable[[], None]
    given_masks: bool

    def load(self, weights: HostArrays, state: HostArrays) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and state on the device."""
        native, running = self.bound.native(weights, state)
        place = self.placement
        return [place.tensor(array) for array in native], [
            place.tensor(array, dtype=place.state_dtype) for array in running
        ]

    def operands(self, batch: HostArrays, *, loss: bool = False, cotangents: bool = False) -> Operands:
        """The batch on the device. Raises DataError that names what is missing."""
        program, place = self.bound.program, self.placement

        def take(name: str) -> Any:
            if name not in batch:
                raise DataError(f"the batch has no {name!r}", remedy=did_you_mean(name, batch))
            return batch[name]

        inputs = tuple(
            place.tensor(take(item.name), dtype=torch.int64 if item.dtype == "int" else None)
            for item in program.graph.inputs
        )
        masks: tuple[Tensor | None, ...] = (None,) * len(program.mask_names)
        if self.given_masks:
            masks = tuple(place.tensor(take(name)) for name in program.mask_names)
        targets = None
        if loss:
            array = take("targets")
            targets = place.tensor(array, dtype=torch.int64 if array.dtype.kind in "iu" else None)
        arriving: tuple[Tensor, ...] = ()
        if cotangents:
            arriving = tuple(place.tensor(take(f"gradient.{name}")) for name, _ in program.graph.outputs)
        return Operands(inputs, masks, targets, arriving)

    def named_state(self, held: Sequence[Tensor], after: Sequence[Tensor] | None) -> dict[str, Any]:
        """State after a pass on the host by name; ``held`` where the pass changed none."""
        names = self.bound.program.state_names
        return {name: host(value) for name, value in zip(names, held if after is None else after, strict=True)}

    def named_weight(self, position: int, tensor: Tensor) -> tuple[str, Any]:
        """(name, canonical host array) of a weight, its gradient or its slot."""
        return self.bound.program.weight_names[position], self.bound.canonical(position, host(tensor))


class TorchForward(ForwardProgram):
    """A forward pass in ``torch.inference_mode``."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._weights: list[Tensor] = []
        self._state: list[Tensor] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        with torch.inference_mode():
            self._weights, self._state = self.setting.load(weights, state)

    def upload(self, batch: HostArrays) -> Operands:
        with torch.inference_mode():
            return self.setting.operands(batch)

    def run(self, operands: Operands) -> Passed:
        self.setting.before_run()
        with torch.inference_mode():
            return self.setting.walk(operands, self._weights, self._state)

    def download(self, results: Passed) -> HostResult:
        names = [name for name, _ in self.setting.bound.program.graph.outputs]
        outputs = {name: host(value) for name, value in zip(names, results.outputs, strict=True)}
        return HostResult(outputs, self.setting.named_state(self._state, results.state))


@dataclass(frozen=True)
class Gradients:
    """A gradient pass: the forward pass, and the gradients of trainable weights and float inputs (None: zero)."""

    passed: Passed
    operands: Operands
    leaves: tuple[Tensor, ...]
    values: tuple[Tensor | None, ...]


class TorchGradient(GradientProgram):
    """Gradients by ``torch.autograd.grad``."""

    def __init__(self, setting: Setting, *, has_loss: bool) -> None:
        self.setting = setting
        self.has_loss = has_loss
        self._weights: list[Tensor] = []
        self._state: list[Tensor] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        self._weights, self._state = self.setting.load(weights, state)
        for position in self.setting.bound.trainable:
            self._weights[position].requires_grad_()

    def upload(self, batch: HostArrays) -> Operands:
        operands = self.setting.operands(batch, loss=self.has_loss, cotangents=not self.has_loss)
        for position in self.setting.bound.float_inputs:
            operands.inputs[position].requires_grad_()
        return operands

    def run(self, operands: Operands) -> Gradients:
        self.setting.before_run()
        passed = self.setting.walk(operands, self._weights, self._state)
        bound = self.setting.bound
        leaves = (
            *(self._weights[i] for i in bound.trainable),
            *(operands.inputs[i] for i in bound.float_inputs),
        )
        if passed.loss is not None:
            reached = passed.loss.requires_grad  # not where the graph has neither float inputs nor trained weights
            values = torch.autograd.grad(passed.loss, leaves, allow_unused=True) if reached else (None,) * len(leaves)
        else:
            pairs = [
                (output, arriving)
                for output, arriving in zip(passed.outputs, operands.cotangents, strict=True)
                if output.requires_grad
            ]
            outputs, arriving = zip(*pairs, strict=True) if pairs else ((), ())
            values = (
                torch.autograd.grad(outputs, leaves, arriving, allow_unused=True) if pairs else (None,) * len(leaves)
            )
        return Gradients(passed, operands, leaves, values)

    def download(self, results: Gradients) -> HostGradients:
        bound = self.setting.bound
        full = [
            torch.zeros_like(leaf) if value is None else value
            for leaf, value in zip(results.leaves, results.values, strict=True)
        ]
        split = len(bound.trainable)
        weights = dict(self.setting.named_weight(i, g) for i, g in zip(bound.trainable, full[:split], strict=True))
        names = [bound.source.inputs[i].name for i in bound.float_inputs]
        inputs = {name: host(gradient) for name, gradient in zip(names, full[split:], strict=True)}
        loss = float("nan") if results.passed.loss is None else float(results.passed.loss.detach())
        return HostGradients(loss, weights, inputs, self.setting.named_state(self._state, results.passed.state))


class TorchStep(StepProgram):
    """A training step by ``Tensor.backward`` and ``torch.optim``."""

    def __init__(self, setting: Setting, optimizer: Optimizer) -> None:
        self.setting = setting
        self.optimizer = optimizer
        self._weights: list[Tensor] = []
        self._state: list[Tensor] = []
        self._rule: torch.optim.Optimizer | None = None

    def load(self, weights: HostArrays, state: HostArrays, slots: HostArrays | None = None) -> None:
        bound, place = self.setting.bound, self.setting.placement
        self._weights, self._state = self.setting.load(weights, state)
        trained = {bound.program.weight_names[i]: i for i in bound.trainable}
        for position in trained.values():
            self._weights[position].requires_grad_()
        decaying = decays(bound.source, getattr(self.optimizer, "decay", "all"))
        parameters = [self._weights[i] for i in trained.values()]
        self._rule = (
            make_optimizer(self.optimizer, parameters, [decaying[name] for name in trained]) if trained else None
        )
        if slots is None or self._rule is None:
            return
        for name, i in trained.items():
            own = {
                slot: place.tensor(bound.weights[i].to_native(slots[f"{name}/{slot}"])) for slot in self.optimizer.slots
            }
            write_slots(self.optimizer, self._rule, self._weights[i], own)

    def upload(self, batch: HostArrays) -> Operands:
        return self.setting.operands(batch, loss=True)

    def run(self, operands: Operands, learning_rate: float) -> Tensor:
        self.setting.before_run()
        passed = self.setting.walk(operands, self._weights, self._state)
        if passed.loss is None:
            raise RuntimeError("a step program is made with a loss")
        if self._rule is not None:
            self._rule.zero_grad(set_to_none=True)
            passed.loss.backward()
            set_rate(self._rule, learning_rate)
            self._rule.step()
        if passed.state is not None:
            self._state = list(passed.state)
        return passed.loss.detach()

    def loss(self, result: Tensor) -> float:
        return float(result)

    def snapshot(self) -> HostTraining:
        setting, bound = self.setting, self.setting.bound
        slots = {}
        for i in bound.trainable:
            for slot, value in read_slots(self.optimizer, self._rule, self._weights[i]).items():
                name, array = setting.named_weight(i, value)
                slots[f"{name}/{slot}"] = array
        weights = dict(setting.named_weight(i, value) for i, value in enumerate(self._weights))
        return HostTraining(weights, setting.named_state(self._state, None), slots)
