"""Forward, gradient and step programs on PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cnnbench.execution.compiled import ForwardProgram, GradientProgram, NativeArray, StepProgram, WatchedPass
from cnnbench.execution.handover import handed, received
from cnnbench.execution.host import HostArrays, HostGradients, HostResult, HostSlots, HostTraining
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operands import BatchReader, ProgramOperands, micro_batches
from cnnbench.execution.optimizers import clipped_units
from cnnbench.spec.optimizers import Optimizer
from cnnbench_torch.arrays import TorchPlacement, host
from cnnbench_torch.optimizers import OPTIMIZERS, clip, read_slots, set_rate, write_slots
from cnnbench_torch.quasi_newton import read_pairs, write_pairs
from cnnbench_torch.walk import TorchPass, Walk, make_walk


@dataclass(frozen=True)
class TorchSetting:
    """What every program of one compilation shares.

    Args:
        bound: The graph, bound.
        reader: Of its batches; it reads no masks where PyTorch draws them.
        placement: Where its tensors live.
        walk: The walk in its mode.
        eager: Whether it runs step by step.
        before_run: Sets the process-wide arithmetic flags of the program's policy.
    """

    bound: BoundGraph
    reader: BatchReader
    placement: TorchPlacement
    walk: Walk
    eager: bool
    before_run: Callable[[], None]


class _TorchProgram:
    """What every program has: its setting, and the weights and running statistics that were loaded."""

    def __init__(self, setting: TorchSetting) -> None:
        self.setting = setting
        self.bound = setting.bound
        self._weights: list[Tensor] = []
        self._state: list[Tensor] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        native, running = self.bound.native(weights, state)
        place = self.setting.placement
        self._weights = [place.tensor(array) for array in native]
        self._state = [place.tensor(array, dtype=place.state_dtype) for array in running]

    def upload(self, batch: HostArrays) -> ProgramOperands:
        operands = self.setting.reader.read(batch).map(self.setting.placement.tensor)
        if self.setting.reader.masks:
            return operands
        return operands._replace(masks=(None,) * len(self.bound.program.mask_names))

    def walk(self, operands: ProgramOperands) -> TorchPass:
        """One pass under the program's arithmetic flags."""
        self.bound.require_loaded(self._weights)
        self.setting.before_run()
        return self.setting.walk(operands, self._weights, self._state)

    def state_after(self, passed: TorchPass) -> list[Any]:
        """The state on the host; what was loaded where the pass changed none."""
        return hosted(self._state if passed.state is None else passed.state)


def hosted(tensors: Iterable[Tensor]) -> list[Any]:
    """Tensors as host arrays of their own."""
    return [host(tensor) for tensor in tensors]


class TorchForward(_TorchProgram, ForwardProgram):
    """A forward pass in ``torch.inference_mode``."""

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        with torch.inference_mode():
            super().load(weights, state)

    def upload(self, batch: HostArrays) -> ProgramOperands:
        with torch.inference_mode():
            return super().upload(batch)

    def run(self, operands: ProgramOperands) -> TorchPass:
        with torch.inference_mode():
            return self.walk(operands)

    def watched(self, operands: ProgramOperands, watch: Callable[[int], None]) -> WatchedPass | None:
        if not self.setting.eager:
            return None
        program = self.bound.program.watched(watch)
        own = TorchForward(replace(self.setting, walk=make_walk(program, "eager")))
        own._weights, own._state = self._weights, self._state
        return WatchedPass(program, lambda: own.run(operands))

    def download(self, results: TorchPass) -> HostResult:
        return self.bound.host_result(hosted(results.outputs), self.state_after(results))

    def held(self) -> HostArrays:
        return self.bound.host_arrays(hosted(self._weights), hosted(self._state))


@dataclass(frozen=True)
class TorchGradients:
    """A gradient pass: the forward pass, and the gradients of trainable weights and float inputs (None: zero)."""

    passed: TorchPass
    leaves: tuple[Tensor, ...]
    values: tuple[Tensor | None, ...]


class TorchGradient(_TorchProgram, GradientProgram):
    """Gradients by ``torch.autograd.grad``."""

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        super().load(weights, state)
        for position in self.bound.trainable:
            self._weights[position].requires_grad_()

    def upload(self, batch: HostArrays) -> ProgramOperands:
        operands = super().upload(batch)
        for position in self.bound.float_inputs:
            operands.inputs[position].requires_grad_()
        return operands

    def run(self, operands: ProgramOperands) -> TorchGradients:
        passed = self.walk(operands)
        leaves = (
            *(self._weights[i] for i in self.bound.trainable),
            *(operands.inputs[i] for i in self.bound.float_inputs),
        )
        values: tuple[Tensor | None, ...] = (None,) * len(leaves)
        if passed.loss is not None:
            if passed.loss.requires_grad:  # not where the graph has neither float inputs nor trained weights
                values = torch.autograd.grad(passed.loss, leaves, allow_unused=True)
        else:
            pairs = zip(passed.outputs, operands.cotangents, strict=True)
            reached = [(output, cotangent) for output, cotangent in pairs if output.requires_grad]
            if reached:
                outputs, cotangents = zip(*reached, strict=True)
                values = torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True)
        return TorchGradients(passed, leaves, values)

    def download(self, results: TorchGradients) -> HostGradients:
        full = [
            host(torch.zeros_like(leaf) if value is None else value)
            for leaf, value in zip(results.leaves, results.values, strict=True)
        ]
        split = len(self.bound.trainable)
        loss = None if results.passed.loss is None else float(results.passed.loss.detach())
        return self.bound.host_gradients(loss, full[:split], full[split:], self.state_after(results.passed))


class TorchStep(_TorchProgram, StepProgram):
    """A training step by ``Tensor.backward`` and ``torch.optim``."""

    def __init__(self, setting: TorchSetting, optimizer: Optimizer) -> None:
        super().__init__(setting)
        self.optimizer = optimizer
        self._make_rule = OPTIMIZERS.rule(optimizer)
        self._units = clipped_units(self.bound, optimizer.clipping) if optimizer.clipping else ()
        self._rule: torch.optim.Optimizer | None = None

    def load(self, weights: HostArrays, state: HostArrays, slots: HostSlots | None = None) -> None:
        super().load(weights, state)
        parameters = [self._weights[i].requires_grad_() for i in self.bound.trainable]
        if not parameters:
            self._rule = None
            return
        self._rule = self._make_rule(self.optimizer, parameters, self.bound.decaying(self.optimizer))
        if slots is None:
            return
        place, native = self.setting.placement, self.bound.native_slots(self.optimizer, slots)
        wide = place.state_dtype if self.optimizer.wide_slots else None
        if self.optimizer.joint:
            of_all = {slot: [place.tensor(array, dtype=wide) for array in arrays] for slot, arrays in native.items()}
            write_pairs(self._rule, parameters, of_all)
            return
        for order, parameter in enumerate(parameters):
            own = {slot: place.tensor(arrays[order], dtype=wide) for slot, arrays in native.items()}
            write_slots(self.optimizer, self._rule, parameter, own)

    def run(self, operands: ProgramOperands, learning_rate: float) -> Tensor:
        if self._rule is None:
            return self._backward(operands)
        self._rule.zero_grad(set_to_none=True)
        loss = self._backward(operands)
        for group in self._rule.param_groups:
            for weight in group["params"]:
                if weight.grad is None:  # the loss does not reach it; PyTorch would leave its decay out, too
                    weight.grad = torch.zeros_like(weight)
                if self.optimizer.joint:  # PyTorch views it as a vector, whichever way a kernel is held
                    weight.grad = weight.grad.contiguous()
        if self.optimizer.clipping:
            clip(self.optimizer.clipping, [self._weights[i] for i in self.bound.trainable], self._units)
        set_rate(self._rule, learning_rate)
        self._rule.step(lambda: loss)  # the gradients are there
        return loss

    def _backward(self, operands: ProgramOperands) -> Tensor:
        """Adds the gradients of the batch, or the mean of its micro-batches', each of which moves the statistics."""
        losses = []
        for share, part in micro_batches(self.bound, operands, self.optimizer.accumulate):
            passed = self.walk(part)
            if passed.loss is None:
                raise RuntimeError("a step program is made with a loss")
            loss = passed.loss if share == 1 else passed.loss * share
            if loss.requires_grad:  # not where no weight reaches it
                loss.backward()
            if passed.state is not None:
                self._state = list(passed.state)
            losses.append(loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def loss(self, result: Tensor) -> float:
        return float(result)

    def arrays(self) -> Mapping[str, NativeArray]:
        return handed(self.bound, [weight.detach() for weight in self._weights], self._state)

    def adopt(self, arrays: Mapping[str, NativeArray]) -> None:
        """A trained weight stays the leaf that the optimiser knows, and takes over the memory of the other tensor."""
        self.bound.require_loaded(self._weights)
        found = received(self.bound, arrays)
        for position, value in found.weights:
            self._weights[position].data = value
        for position, value in found.state:
            self._state[position] = value

    def snapshot(self) -> HostTraining:
        slots: dict[str, list[Any]] = {slot: [] for slot in self.optimizer.slots}
        if self.optimizer.joint:
            held = read_pairs(self.optimizer, self._rule, [self._weights[i] for i in self.bound.trainable])
            slots = {slot: hosted(tensors) for slot, tensors in held.items()}
            return self.bound.host_training(hosted(self._weights), hosted(self._state), slots)
        for i in self.bound.trainable:
            for slot, value in read_slots(self.optimizer, self._rule, self._weights[i]).items():
                slots[slot].append(host(value))
        return self.bound.host_training(hosted(self._weights), hosted(self._state), slots)
