"""Compiled programs: a bound graph under ``tf.function``, its weights held as variables.

The first call traces, optimises the graph and, in mode ``xla``, compiles. TensorFlow offers only the trace apart, so
``prepare`` is left out: a time that held the trace alone would be taken for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operations import LayoutChange
from cnnbench.execution.program import ForwardResult
from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import SGD, Optimizer, decays
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.losses import LossFunction, target_dtype
from cnnbench_tensorflow.optimizers import update_rule

if TYPE_CHECKING:
    from cnnbench.execution.contract import HostArrays


class Setting(NamedTuple):
    """How functions are made: compiled by XLA or not, the storage type, and who draws dropout masks."""

    xla: bool
    storage: str
    native_randomness: bool


class _Held:
    """What every program has: the bound graph, its weights and running statistics as variables, and transfer."""

    def __init__(self, bound: BoundGraph, setting: Setting) -> None:
        self.bound = bound
        self.program = bound.program
        self.graph = bound.program.graph
        self.setting = setting
        self.dtype = tf.as_dtype(setting.storage)
        self.state_dtype = tf.float64 if self.dtype == tf.float64 else tf.float32
        self.weights: list[Any] = []
        self.state: list[Any] = []

    def function(self, body: Any) -> Any:
        """``body`` traced once for each shape of its operands."""
        return tf.function(body, jit_compile=self.setting.xla, autograph=False)

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        """New values in the variables; they are made at the first load."""
        native, running = self.bound.native(weights, state)
        self.weights = self.assign(self.weights, native, self.dtype)
        self.state = self.assign(self.state, running, self.state_dtype)

    def assign(self, variables: list[Any], arrays: Sequence[Any], dtype: Any) -> list[Any]:
        """Variables of these values: the given ones, or new ones where there are none yet."""
        values = [to_device(array, dtype) for array in arrays]
        if not variables:
            return [tf.Variable(value) for value in values]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return variables

    def operand(self, batch: HostArrays, name: str, dtype: Any, *, last: bool = False) -> Any:
        """One array of a batch on the device, channels moved to the end where ``last``."""
        if name not in batch:
            raise DataError("the batch lacks an array", where=self.graph.name, received=sorted(batch), expected=name)
        array = np.asarray(batch[name])
        if last and array.ndim > 2:
            array = array.transpose(LayoutChange(to="channels_last").permutation(array.ndim))
        return to_device(array, dtype)

    def upload_inputs(self, batch: HostArrays) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """(inputs, masks) in the program's order; no masks where the framework draws them."""
        inputs = tuple(
            self.operand(batch, item.name, self.dtype if item.dtype == "float" else tf.int64)
            for item in self.graph.inputs
        )
        if self.setting.native_randomness:
            return inputs, ()
        named = zip(self.program.mask_names, self.bound.masks_channels_last, strict=True)
        return inputs, tuple(self.operand(batch, name, self.dtype, last=last) for name, last in named)

    def forward(self, inputs: Sequence[Any], masks: Sequence[Any], weights: Sequence[Any]) -> ForwardResult:
        """The walk, within a trace."""
        if self.setting.native_randomness and self.program.mask_names:
            masks = self.draw_masks(inputs)
        return self.program.forward(inputs, weights, [variable.read_value() for variable in self.state], masks)

    def draw_masks(self, inputs: Sequence[Any]) -> list[Any]:
        """Masks from TensorFlow's own generator."""
        sizes = [x.shape[0] for x, item in zip(inputs, self.graph.inputs, strict=True) if item.batched]
        masks = []
        specs = self.graph.named_masks(sizes[0] if sizes else 1)
        for spec, last in zip(specs, self.bound.masks_channels_last, strict=True):
            shape = spec.shape
            if last and len(shape) > 2:
                shape = tuple(shape[i] for i in LayoutChange(to="channels_last").permutation(len(shape)))
            masks.append(tf.cast(tf.random.uniform(shape) < spec.keep, self.dtype))
        return masks

    def read_weights(self) -> list[Any]:
        """The weights' values, within a trace."""
        return [variable.read_value() for variable in self.weights]

    def named_state(self, values: Sequence[Any]) -> dict[str, Any]:
        """Running statistics on the host by full name."""
        return {name: to_host(value) for name, value in zip(self.program.state_names, values, strict=True)}

    def named_weights(self, positions: Sequence[int], values: Sequence[Any]) -> dict[str, Any]:
        """Values of the weights at ``positions`` (or their gradients, or slots), canonical, by full name."""
        return {
            self.program.weight_names[position]: self.bound.canonical(position, to_host(value))
            for position, value in zip(positions, values, strict=True)
        }


def to_device(array: Any, dtype: Any) -> Any:
    """A host array as a tensor that shares no memory with it."""
    return tf.constant(np.array(array, dtype.as_numpy_dtype))


def to_host(value: Any) -> Any:
    """A tensor or variable as a host array: float64 for float64, int64 for integers, else float32."""
    array = value.numpy()
    if array.dtype.kind in "iu":
        return array.astype("int64")
    return array if array.dtype == np.float64 else array.astype(np.float32)


def dense(gradients: Any) -> Any:
    """Gradients as tensors: that of a table read by row (``tf.gather``) comes as slices with their indices."""
    return tf.nest.map_structure(tf.convert_to_tensor, gradients)


class Forward(_Held, ForwardProgram):
    """A forward pass. In inference the running statistics are those that were loaded, and are not returned."""

    def __init__(self, bound: BoundGraph, setting: Setting) -> None:
        super().__init__(bound, setting)
        self._function = self.function(self._body)

    def _body(self, inputs: Any, masks: Any) -> Any:
        result = self.forward(inputs, masks, self.read_weights())
        return result.outputs, tuple(result.state) if self.program.training else ()

    def upload(self, batch: HostArrays) -> Any:
        return self.upload_inputs(batch)

    def run(self, operands: Any) -> Any:
        return self._function(*operands)

    def download(self, results: Any) -> HostResult:
        outputs, state = results
        names = (name for name, _ in self.graph.outputs)
        named = {name: to_host(value) for name, value in zip(names, outputs, strict=True)}
        return HostResult(named, self.named_state(state if self.program.training else self.state))


class Gradient(_Held, GradientProgram):
    """Gradients by ``tf.GradientTape`` of a loss, or of the outputs' products with given arrays."""

    def __init__(self, bound: BoundGraph, setting: Setting, loss: Loss | None, function: LossFunction | None) -> None:
        super().__init__(bound, setting)
        self._loss, self._loss_function = loss, function
        self._function = self.function(self._body)

    def _body(self, inputs: Any, masks: Any, given: Any) -> Any:
        weights = self.read_weights()
        sources = [weights[i] for i in self.bound.trainable], [inputs[i] for i in self.bound.float_inputs]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            result = self.forward(inputs, masks, weights)
            function = self._loss_function
            value = function(result.outputs[0], given[0]) if function else list(result.outputs)
        found = tape.gradient(
            value,
            sources,
            output_gradients=None if self._loss else list(given),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        found = dense(found)
        return (value if self._loss else tf.constant(math.nan)), found, tuple(result.state)

    def upload(self, batch: HostArrays) -> Any:
        names = ["targets"] if self._loss else [f"gradient.{name}" for name, _ in self.graph.outputs]
        dtype = target_dtype(self._loss, self.dtype)
        return (*self.upload_inputs(batch), tuple(self.operand(batch, name, dtype) for name in names))

    def run(self, operands: Any) -> Any:
        return self._function(*operands)

    def download(self, results: Any) -> HostGradients:
        value, (weights, inputs), state = results
        names = [self.graph.inputs[i].name for i in self.bound.float_inputs]
        return HostGradients(
            float(value.numpy()),
            self.named_weights(self.bound.trainable, weights),
            {name: to_host(gradient) for name, gradient in zip(names, inputs, strict=True)},
            self.named_state(state),
        )


class Training(_Held, StepProgram):
    """A training step that updates the variables in place."""

    def __init__(
        self, bound: BoundGraph, setting: Setting, loss: Loss, function: LossFunction, optimizer: Optimizer
    ) -> None:
        super().__init__(bound, setting)
        self._loss, self._loss_function = loss, function
        self._optimizer = optimizer
        self._update = update_rule(optimizer)
        self._slots: dict[str, list[Any]] = {}
        group = optimizer.decay if isinstance(optimizer, SGD) else "all"
        decaying = decays(self.graph, group)
        self._decays = [decaying[self.program.weight_names[i]] for i in bound.trainable]
        self._function = self.function(self._body)

    def load(self, weights: HostArrays, state: HostArrays, slots: HostArrays | None = None) -> None:
        super().load(weights, state)
        for slot in self._optimizer.slots:
            arrays = []
            for position in self.bound.trainable:
                name = f"{self.program.weight_names[position]}/{slot}"
                held = self.bound.weights[position]
                shape = self.weights[position].shape
                arrays.append(np.zeros(shape) if slots is None else held.to_native(np.asarray(slots[name])))
            self._slots[slot] = self.assign(self._slots.get(slot, []), arrays, self.dtype)

    def _body(self, inputs: Any, masks: Any, targets: Any, rate: Any) -> Any:
        weights = self.read_weights()
        trained = [weights[i] for i in self.bound.trainable]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            result = self.forward(inputs, masks, weights)
            value = self._loss_function(result.outputs[0], targets)
        gradients = dense(tape.gradient(value, trained, unconnected_gradients=tf.UnconnectedGradients.ZERO))
        for order, (position, gradient) in enumerate(zip(self.bound.trainable, gradients, strict=True)):
            slots = {slot: variables[order] for slot, variables in self._slots.items()}
            self._update(self._optimizer, self.weights[position], slots, gradient, rate, self._decays[order])
        if self.program.training:
            for variable, new in zip(self.state, result.state, strict=True):
                variable.assign(new)
        return value

    def upload(self, batch: HostArrays) -> Any:
        return (*self.upload_inputs(batch), self.operand(batch, "targets", target_dtype(self._loss, self.dtype)))

    def run(self, operands: Any, learning_rate: float) -> Any:
        return self._function(*operands, tf.constant(learning_rate, self.dtype))

    def loss(self, result: Any) -> float:
        return float(result.numpy())

    def snapshot(self) -> HostTraining:
        trainable = self.bound.trainable
        slots = {
            f"{name}/{slot}": array
            for slot, variables in self._slots.items()
            for name, array in self.named_weights(trainable, variables).items()
        }
        everything = range(len(self.weights))
        return HostTraining(self.named_weights(everything, self.weights), self.named_state(self.state), slots)
