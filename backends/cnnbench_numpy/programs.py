"""Forward, gradient and step programs: the bound walk with its arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import cnnbench_numpy.quasi_newton  # noqa: F401 - registers a rule
from cnnbench.execution.compiled import ForwardProgram, GradientProgram, NativeArray, StepProgram, WatchedPass
from cnnbench.execution.handover import handed, take_over
from cnnbench.execution.host import HostArrays, HostGradients, HostResult, HostSlots, HostTraining
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.losses import LossFunction
from cnnbench.execution.operands import BatchReader, ProgramOperands, micro_batches
from cnnbench.execution.operations import Operations
from cnnbench.execution.optimizers import clipped_units
from cnnbench.execution.program import ForwardResult, Program
from cnnbench.spec.layers import Shape
from cnnbench.spec.optimizers import Optimizer
from cnnbench_numpy.blas import single_threaded
from cnnbench_numpy.fast.plan import FloatArithmetic, plan
from cnnbench_numpy.fast.team import Team, team
from cnnbench_numpy.optimizers import OPTIMIZERS, by_block, clip

Array = NDArray[Any]


@dataclass(frozen=True)
class NumpySetting:
    """What every program of one compilation shares.

    Args:
        bound: The graph, bound.
        reader: Of its batches.
        loss: (output, targets) -> its value and its gradient; None where there is none.
        arithmetic: Of all programs.
    """

    bound: BoundGraph
    reader: BatchReader
    loss: LossFunction | None
    arithmetic: FloatArithmetic

    def place(self, array: Any) -> Array:
        """A dense copy: integers stay what they are."""
        array = np.asarray(array)
        return np.array(array, array.dtype if array.dtype.kind == "i" else self.arithmetic.dtype, order="C")


def hosted(arrays: Sequence[Array]) -> list[Array]:
    """Dense copies, which the next run cannot overwrite."""
    return [np.array(array, order="C") for array in arrays]


class _NumpyProgram:
    """What every program has: its setting, and the weights and running statistics that were loaded."""

    def __init__(self, setting: NumpySetting) -> None:
        self.setting = setting
        self.bound = setting.bound
        self._weights: list[Array] = []
        self._state: list[Array] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        native, statistics = self.bound.native(weights, state)
        self._weights = [self.setting.place(array) for array in native]
        self._state = [self.setting.place(array) for array in statistics]

    def upload(self, batch: HostArrays) -> ProgramOperands:
        return self.setting.reader.read(batch).map(self.setting.place)


class NumpyForward(_NumpyProgram, ForwardProgram):
    """A forward pass by ``Program.forward``."""

    def run(self, operands: ProgramOperands) -> ForwardResult:
        return self._run(self._planned(operands), operands)

    def watched(self, operands: ProgramOperands, watch: Callable[[int], None]) -> WatchedPass:
        program = self._planned(operands).watched(watch)
        return WatchedPass(program, lambda: self._run(program, operands))

    def _run(self, program: Program, operands: ProgramOperands) -> ForwardResult:
        self.bound.require_loaded(self._weights)
        with single_threaded(), np.errstate(all="ignore"):
            return program.forward(operands.inputs, self._weights, self._state, operands.masks)

    def _planned(self, operands: ProgramOperands) -> Program:
        return self.bound.program

    def download(self, results: ForwardResult) -> HostResult:
        return self.bound.host_result(hosted(results.outputs), hosted(results.state))

    def held(self) -> HostArrays:
        return self.bound.host_arrays(hosted(self._weights), hosted(self._state))


class NumpyFastForward(NumpyForward):
    """A forward pass for inference whose steps are planned once for each shape of operands."""

    def __init__(self, setting: NumpySetting, native: Operations) -> None:
        super().__init__(setting)
        self._native = native
        self._plans: dict[tuple[tuple[Shape, ...], Team], Program] = {}

    def prepare(self, operands: ProgramOperands) -> None:
        self._planned(operands)

    def _planned(self, operands: ProgramOperands) -> Program:
        if any(not x.size for x in operands.inputs):
            return self.bound.program  # of no images there is nothing to plan
        key = (tuple(x.shape for x in operands.inputs), team())
        if key not in self._plans:
            self._plans[key] = plan(self.bound.program, self._native, key[0], self.setting.arithmetic, team())
        return self._plans[key]


class NumpyGradients(NamedTuple):
    """One gradient pass: the loss, gradients in the program's order (zero where nothing depends), the state after."""

    loss: Array | None
    weights: list[Array]
    inputs: list[Array]
    state: list[Array]


class _NumpyReverse(_NumpyProgram):
    """A program that differentiates: one recorded forward pass and one reverse pass."""

    def differentiate(self, operands: ProgramOperands) -> NumpyGradients:
        """The gradients of every weight and input."""
        self.bound.require_loaded(self._weights)
        program, weights = self.bound.program, self._weights
        with single_threaded(), np.errstate(all="ignore"):
            result = program.forward(operands.inputs, weights, self._state, operands.masks, record=True)
            if result.tape is None:
                raise RuntimeError("a recorded pass has a tape")
            value: Array | None = None
            cotangents: tuple[Array | None, ...] = operands.cotangents
            if self.setting.loss is not None:
                value, gradient = self.setting.loss(result.outputs[0], np.asarray(operands.targets))
                cotangents = (gradient, *[None] * (len(result.outputs) - 1))
            reverse = program.reverse(result.tape, cotangents, weights, operands.masks)
        return NumpyGradients(
            value, _with_zeros(reverse.weights, weights), _with_zeros(reverse.inputs, operands.inputs), result.state
        )


def _with_zeros(gradients: Sequence[Array | None], values: Sequence[Array]) -> list[Array]:
    return [np.zeros_like(x) if gradient is None else gradient for gradient, x in zip(gradients, values, strict=True)]


class NumpyGradient(_NumpyReverse, GradientProgram):
    """A forward and reverse pass by ``Program.forward`` and ``Program.reverse``."""

    def run(self, operands: ProgramOperands) -> NumpyGradients:
        result = self.differentiate(operands)
        held = [x for part in (operands.inputs, operands.masks, operands.cotangents, self._weights) for x in part]
        own = [np.array(g) if any(np.may_share_memory(g, x) for x in held) else g for g in result.weights]
        return result._replace(weights=own)  # so that ``download`` need not copy what may be gigabytes

    def download(self, results: NumpyGradients) -> HostGradients:
        bound = self.bound
        return bound.host_gradients(
            None if results.loss is None else float(results.loss),
            [np.asarray(results.weights[i], order="C") for i in bound.trainable],
            hosted([results.inputs[i] for i in bound.float_inputs]),
            hosted(results.state),
        )


class NumpyStep(_NumpyReverse, StepProgram):
    """A gradient pass and an update of every trainable weight."""

    def __init__(self, setting: NumpySetting, optimizer: Optimizer) -> None:
        super().__init__(setting)
        self.optimizer = optimizer
        self._update = OPTIMIZERS.rule(optimizer)
        self._decaying = self.bound.decaying(optimizer)
        self._units = clipped_units(self.bound, optimizer.clipping) if optimizer.clipping else ()
        self._slots: dict[str, list[Array]] = {}

    def load(self, weights: HostArrays, state: HostArrays, slots: HostSlots | None = None) -> None:
        super().load(weights, state)
        native = self.bound.native_slots(self.optimizer, slots)
        self._slots = {slot: [self.setting.place(array) for array in arrays] for slot, arrays in native.items()}

    def run(self, operands: ProgramOperands, learning_rate: float) -> Array:
        result = self._accumulated(operands)
        rate, trainable = float(learning_rate), self.bound.trainable
        gradients = [result.weights[i] for i in trainable]
        result.weights.clear()  # each goes with its update: all together are as large as the network
        if self.optimizer.clipping:
            weights = [self._weights[i] for i in trainable]
            gradients = clip(self.optimizer.clipping, weights, gradients, self._units)
        if self.optimizer.joint:
            weights, self._slots = self._update(
                self.optimizer, [self._weights[i] for i in trainable], gradients, self._slots, rate
            )
            for i, weight in zip(trainable, weights, strict=True):
                self._weights[i] = weight
            gradients.clear()
        for order, i in enumerate(trainable if gradients else ()):
            slots = {slot: arrays[order] for slot, arrays in self._slots.items()}
            update = partial(self._update, self.optimizer, rate=rate, decays=self._decaying[order])
            self._weights[i], after = by_block(update, self._weights[i], gradients.pop(0), slots)
            for slot, array in after.items():
                self._slots[slot][order] = array
        self._state = result.state
        return np.asarray(result.loss)

    def _accumulated(self, operands: ProgramOperands) -> NumpyGradients:
        """The gradients of the batch, or the mean of its micro-batches'; each part moves the running statistics."""
        parts = micro_batches(self.bound, operands, self.optimizer.accumulate)
        (share, first), *others = parts
        found = self.differentiate(first)
        if not others:
            return found
        loss = share * np.asarray(found.loss)
        weights = [gradient * share for gradient in found.weights]
        for share, part in others:
            self._state = found.state
            found = self.differentiate(part)
            loss = loss + share * np.asarray(found.loss)
            weights = [total + gradient * share for total, gradient in zip(weights, found.weights, strict=True)]
        return NumpyGradients(loss, weights, [], found.state)

    def arrays(self) -> Mapping[str, NativeArray]:
        return handed(self.bound, self._weights, self._state)

    def adopt(self, arrays: Mapping[str, NativeArray]) -> None:
        take_over(self.bound, arrays, self._weights, self._state)

    def loss(self, result: Array) -> float:
        return float(result)

    def snapshot(self) -> HostTraining:
        slots = {slot: hosted(arrays) for slot, arrays in self._slots.items()}
        return self.bound.host_training(hosted(self._weights), hosted(self._state), slots)
