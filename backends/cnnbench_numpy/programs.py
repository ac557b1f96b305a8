"""Forward, gradient and step programs: the bound walk with its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.execution.contract import (
    ForwardProgram,
    GradientProgram,
    HostGradients,
    HostResult,
    HostTraining,
    StepProgram,
)
from cnnbench.execution.operations import Operations
from cnnbench.execution.program import ForwardResult, Program
from cnnbench.spec.layers import Shape
from cnnbench.spec.optimizers import Optimizer, decays
from cnnbench_numpy.blas import single_threaded
from cnnbench_numpy.fast.plan import plan
from cnnbench_numpy.fast.team import Team, team
from cnnbench_numpy.holding import Holding, HostArrays, Operands
from cnnbench_numpy.losses import LossFunction
from cnnbench_numpy.optimizers import Slots, update

Array = NDArray[Any]


class NumpyForward(ForwardProgram):
    """A forward pass by ``Program.forward``."""

    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self._weights: list[Array] = []
        self._state: list[Array] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        self._weights, self._state = self.holding.load(weights, state)

    def upload(self, batch: HostArrays) -> Operands:
        return self.holding.operands(batch)

    def run(self, operands: Operands) -> ForwardResult:
        _require_loaded(self.holding, self._weights)
        with single_threaded():
            return self.holding.program.forward(operands.inputs, self._weights, self._state, operands.masks)

    def download(self, results: ForwardResult) -> HostResult:
        names = [name for name, _ in self.holding.program.graph.outputs]
        outputs = {name: np.array(value, order="C") for name, value in zip(names, results.outputs, strict=True)}
        return HostResult(outputs, self.holding.named_state(results.state))


class FastForward(NumpyForward):
    """A forward pass for inference whose steps are planned once for each shape of operands."""

    def __init__(self, holding: Holding, native: Operations) -> None:
        super().__init__(holding)
        self._native = native
        self._plans: dict[tuple[tuple[Shape, ...], Team], Program] = {}

    def prepare(self, operands: Operands) -> None:
        self._planned(operands)

    def run(self, operands: Operands) -> ForwardResult:
        _require_loaded(self.holding, self._weights)
        planned = self._planned(operands)
        with single_threaded():
            return planned.forward(operands.inputs, self._weights, self._state)

    def _planned(self, operands: Operands) -> Program:
        shapes = tuple(x.shape for x in operands.inputs)
        key = (shapes, team())
        if key not in self._plans:
            holding = self.holding
            self._plans[key] = plan(holding.program, self._native, shapes, holding.dtype, team())
        return self._plans[key]


class _Gradients:
    """What one gradient pass gives: the loss, gradients in the program's order, the state after it."""

    def __init__(self, loss: Array | None, weights: list[Array], inputs: list[Array], state: list[Array]) -> None:
        self.loss = loss
        self.weights = weights
        self.inputs = inputs
        self.state = state


def _require_loaded(holding: Holding, weights: Sequence[Array]) -> None:
    if len(weights) != len(holding.program.weight_names):
        raise SpecError("the program has no weights yet", where=holding.program.graph.name, remedy="load before run")


def _differentiate(
    holding: Holding, operands: Operands, weights: Sequence[Array], state: Sequence[Array], loss: LossFunction | None
) -> _Gradients:
    """One recorded forward pass and one reverse pass; what nothing depends on has a gradient of zero."""
    program = holding.program
    result = program.forward(operands.inputs, weights, state, operands.masks, record=True)
    if result.tape is None:
        raise RuntimeError("a recorded pass has a tape")
    value: Array | None = None
    arriving: tuple[Array | None, ...] = operands.cotangents
    if loss is not None:
        value, gradient = loss(result.outputs[0], np.asarray(operands.targets))
        arriving = (gradient, *[None] * (len(result.outputs) - 1))
    reverse = program.reverse(result.tape, arriving, weights, operands.masks)
    return _Gradients(
        value,
        [np.zeros_like(w) if g is None else g for w, g in zip(weights, reverse.weights, strict=True)],
        [np.zeros_like(x) if g is None else g for x, g in zip(operands.inputs, reverse.inputs, strict=True)],
        result.state,
    )


class NumpyGradient(GradientProgram):
    """A forward and reverse pass by ``Program.forward`` and ``Program.reverse``."""

    def __init__(self, holding: Holding, loss: LossFunction | None) -> None:
        self.holding = holding
        self.loss = loss
        self._weights: list[Array] = []
        self._state: list[Array] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        self._weights, self._state = self.holding.load(weights, state)

    def upload(self, batch: HostArrays) -> Operands:
        return self.holding.operands(batch, targets=self.loss is not None, cotangents=self.loss is None)

    def run(self, operands: Operands) -> _Gradients:
        _require_loaded(self.holding, self._weights)
        with single_threaded():
            return _differentiate(self.holding, operands, self._weights, self._state, self.loss)

    def download(self, results: _Gradients) -> HostGradients:
        positions = self.holding.trainable()
        inputs = self.holding.program.graph.inputs
        return HostGradients(
            float("nan") if results.loss is None else float(results.loss),
            {name: self.holding.canonical(i, results.weights[i]) for name, i in positions.items()},
            {
                item.name: np.array(gradient, order="C")
                for item, gradient in zip(inputs, results.inputs, strict=True)
                if item.dtype == "float"
            },
            self.holding.named_state(results.state),
        )


class NumpyStep(StepProgram):
    """A gradient pass and an update of every trainable weight."""

    def __init__(self, holding: Holding, loss: LossFunction, optimizer: Optimizer) -> None:
        self.holding = holding
        self._loss = loss
        self.optimizer = optimizer
        self._positions = holding.trainable()
        self._decays = decays(holding.program.graph, getattr(optimizer, "decay", "all"))
        self._weights: list[Array] = []
        self._state: list[Array] = []
        self._slots: dict[str, Slots] = {}

    def load(self, weights: HostArrays, state: HostArrays, slots: HostArrays | None = None) -> None:
        self._weights, self._state = self.holding.load(weights, state)
        self._slots = {
            name: {
                slot: np.zeros_like(self._weights[i])
                if slots is None
                else self.holding.native(i, slots[f"{name}/{slot}"])
                for slot in self.optimizer.slots
            }
            for name, i in self._positions.items()
        }

    def upload(self, batch: HostArrays) -> Operands:
        return self.holding.operands(batch, targets=True)

    def run(self, operands: Operands, learning_rate: float) -> Array:
        _require_loaded(self.holding, self._weights)
        with single_threaded():
            result = _differentiate(self.holding, operands, self._weights, self._state, self._loss)
        for name, i in self._positions.items():
            self._weights[i], self._slots[name] = update(
                self.optimizer,
                self._weights[i],
                result.weights[i],
                self._slots[name],
                float(learning_rate),
                self._decays[name],
            )
        self._state = result.state
        return np.asarray(result.loss)

    def loss(self, result: Array) -> float:
        return float(result)

    def snapshot(self) -> HostTraining:
        holding = self.holding
        return HostTraining(
            {name: holding.canonical(i, self._weights[i]) for i, name in enumerate(holding.program.weight_names)},
            holding.named_state(self._state),
            {
                f"{name}/{slot}": holding.canonical(self._positions[name], array)
                for name, slots in self._slots.items()
                for slot, array in slots.items()
            },
        )
