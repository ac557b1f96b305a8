"""Programs: host arrays in, the bound walk of cnnbench, host arrays out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cnnbench.errors import DataError
from cnnbench.execution.contract import (
    ForwardProgram,
    GradientProgram,
    HostGradients,
    HostResult,
    HostTraining,
    StepProgram,
)
from cnnbench.spec.optimizers import decays
from cnnbench_indexed.losses import loss_and_gradient
from cnnbench_indexed.optimizers import update


class Batch(NamedTuple):
    """One uploaded batch."""

    inputs: tuple
    masks: tuple
    targets: object = None
    cotangents: tuple = ()


class _Arrays:
    """What all three have: a bound graph, its dtype, and the arrays that were loaded."""

    def __init__(self, bound, options):
        self.bound, self.program = bound, bound.program
        self.dtype = np.dtype(options.precision.storage)
        self.weights, self.state = [], []

    def load(self, weights, state):
        native, statistics = self.bound.native(weights, state)
        self.weights = [np.array(a, self.dtype) for a in native]
        self.state = [np.array(a, self.dtype) for a in statistics]

    def upload(self, batch):
        graph = self.program.graph
        inputs = []
        for item in graph.inputs:
            if item.name not in batch:
                raise DataError(f"the input {item.name!r} is missing", where=graph.name)
            inputs.append(np.array(batch[item.name], np.int64 if item.dtype == "int" else self.dtype))
        masks = tuple(np.array(batch[name], self.dtype) for name in self.program.mask_names)
        arriving = [f"gradient.{name}" for name, _ in graph.outputs]
        cotangents = tuple(np.array(batch[name], self.dtype) for name in arriving if name in batch)
        return Batch(tuple(inputs), masks, batch.get("targets"), cotangents)

    def named_state(self, state):
        return {name: np.array(a) for name, a in zip(self.program.state_names, state, strict=True)}

    def differentiate(self, operands, loss):
        result = self.program.forward(operands.inputs, self.weights, self.state, operands.masks, record=True)
        value, arriving = float("nan"), operands.cotangents
        if loss is not None:
            value, gradient = loss_and_gradient(loss, result.outputs[0], operands.targets)
            arriving = (gradient, *[None] * (len(result.outputs) - 1))
        reverse = self.program.reverse(result.tape, arriving, self.weights, operands.masks)
        of_weights = [np.zeros_like(w) if g is None else g for w, g in zip(self.weights, reverse.weights, strict=True)]
        of_inputs = [np.zeros_like(x) if g is None else g for x, g in zip(operands.inputs, reverse.inputs, strict=True)]
        return value, of_weights, of_inputs, result.state


class Forward(_Arrays, ForwardProgram):
    """A forward pass."""

    def run(self, operands):
        return self.program.forward(operands.inputs, self.weights, self.state, operands.masks)

    def download(self, results):
        names = [name for name, _ in self.program.graph.outputs]
        outputs = {name: np.array(value) for name, value in zip(names, results.outputs, strict=True)}
        return HostResult(outputs, self.named_state(results.state))


class Gradient(_Arrays, GradientProgram):
    """A forward and a reverse pass."""

    def __init__(self, bound, options, loss):
        super().__init__(bound, options)
        self.loss = loss

    def run(self, operands):
        return self.differentiate(operands, self.loss)

    def download(self, results):
        value, weights, inputs, state = results
        names = self.program.weight_names
        return HostGradients(
            float(value),
            {names[i]: self.bound.canonical(i, weights[i]) for i in self.bound.trainable},
            {
                item.name: np.array(g)
                for item, g in zip(self.program.graph.inputs, inputs, strict=True)
                if item.dtype == "float"
            },
            self.named_state(state),
        )


class Step(_Arrays, StepProgram):
    """A gradient pass and an update of every trained weight."""

    def __init__(self, bound, options, loss, optimizer):
        super().__init__(bound, options)
        self._loss, self.rule = loss, optimizer
        self.decays = decays(self.program.graph, getattr(optimizer, "decay", "all"))
        self.slots = {}

    def load(self, weights, state, slots=None):
        super().load(weights, state)
        for i in self.bound.trainable:
            name = self.program.weight_names[i]
            self.slots[i] = {
                slot: np.zeros_like(self.weights[i])
                if slots is None
                else np.array(self.bound.weights[i].to_native(slots[f"{name}/{slot}"]), self.dtype)
                for slot in self.rule.slots
            }

    def run(self, operands, learning_rate):
        value, gradients, _, state = self.differentiate(operands, self._loss)
        for i in self.bound.trainable:
            decay = self.decays[self.program.weight_names[i]]
            moved = update(self.rule, self.weights[i], gradients[i], self.slots[i], learning_rate, decay)
            self.weights[i], self.slots[i] = moved
        self.state = state
        return value

    def loss(self, result):
        return float(result)

    def snapshot(self):
        names = self.program.weight_names
        return HostTraining(
            {name: self.bound.canonical(i, self.weights[i]) for i, name in enumerate(names)},
            self.named_state(self.state),
            {
                f"{names[i]}/{slot}": self.bound.canonical(i, array)
                for i, slots in self.slots.items()
                for slot, array in slots.items()
            },
        )
