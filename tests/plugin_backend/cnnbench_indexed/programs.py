"""Programs: host arrays in, the bound walk of cnnbench, host arrays out."""

from __future__ import annotations

import numpy as np

from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.execution.operands import BatchReader
from cnnbench_indexed.losses import loss_and_gradient
from cnnbench_indexed.optimizers import OPTIMIZERS


class _IndexedProgram:
    """What all three have: a bound graph, its dtype, and the arrays that were loaded."""

    def __init__(self, bound, options, reader):
        self.bound, self.program, self.reader = bound, bound.program, reader
        self.dtype = np.dtype(options.precision.storage)
        self.weights, self.state = [], []

    def place(self, array):
        return np.array(array, np.int64 if array.dtype.kind == "i" else self.dtype)

    def load(self, weights, state):
        native, statistics = self.bound.native(weights, state)
        self.weights = [self.place(array) for array in native]
        self.state = [self.place(array) for array in statistics]

    def upload(self, batch):
        return self.reader.read(batch).map(self.place)

    def differentiate(self, operands, loss):
        self.bound.require_loaded(self.weights)
        result = self.program.forward(operands.inputs, self.weights, self.state, operands.masks, record=True)
        value, cotangents = None, operands.cotangents
        if loss is not None:
            value, gradient = loss_and_gradient(loss, result.outputs[0], operands.targets)
            cotangents = (gradient, *[None] * (len(result.outputs) - 1))
        reverse = self.program.reverse(result.tape, cotangents, self.weights, operands.masks)
        of_weights = [np.zeros_like(w) if g is None else g for w, g in zip(self.weights, reverse.weights, strict=True)]
        of_inputs = [np.zeros_like(x) if g is None else g for x, g in zip(operands.inputs, reverse.inputs, strict=True)]
        return value, of_weights, of_inputs, result.state


def _copies(arrays):
    return [np.array(array) for array in arrays]


class IndexedForward(_IndexedProgram, ForwardProgram):
    """A forward pass."""

    def __init__(self, bound, options):
        super().__init__(bound, options, BatchReader(bound))

    def run(self, operands):
        self.bound.require_loaded(self.weights)
        return self.program.forward(operands.inputs, self.weights, self.state, operands.masks)

    def download(self, results):
        return self.bound.host_result(_copies(results.outputs), _copies(results.state))


class IndexedGradient(_IndexedProgram, GradientProgram):
    """A forward and a reverse pass."""

    def __init__(self, bound, options, loss):
        super().__init__(bound, options, BatchReader(bound, loss, cotangents=loss is None))
        self.loss = loss

    def run(self, operands):
        return self.differentiate(operands, self.loss)

    def download(self, results):
        value, weights, inputs, state = results
        return self.bound.host_gradients(
            None if value is None else float(value),
            _copies(weights[i] for i in self.bound.trainable),
            _copies(inputs[i] for i in self.bound.float_inputs),
            _copies(state),
        )


class IndexedStep(_IndexedProgram, StepProgram):
    """A gradient pass and an update of every trained weight."""

    def __init__(self, bound, options, loss, optimizer):
        super().__init__(bound, options, BatchReader(bound, loss))
        self._loss, self.optimizer = loss, optimizer
        self.update, self.decaying = OPTIMIZERS.rule(optimizer), bound.decaying(optimizer)
        self.slots = {}

    def load(self, weights, state, slots=None):
        super().load(weights, state)
        native = self.bound.native_slots(self.optimizer, slots)
        self.slots = {slot: [self.place(array) for array in arrays] for slot, arrays in native.items()}

    def run(self, operands, learning_rate):
        value, gradients, _, state = self.differentiate(operands, self._loss)
        for order, (i, decays) in enumerate(zip(self.bound.trainable, self.decaying, strict=True)):
            slots = {slot: arrays[order] for slot, arrays in self.slots.items()}
            self.weights[i], after = self.update(
                self.optimizer, self.weights[i], gradients[i], slots, learning_rate, decays
            )
            for slot, array in after.items():
                self.slots[slot][order] = array
        self.state = state
        return value

    def loss(self, result):
        return float(result)

    def snapshot(self):
        slots = {slot: _copies(arrays) for slot, arrays in self.slots.items()}
        return self.bound.host_training(_copies(self.weights), _copies(self.state), slots)
