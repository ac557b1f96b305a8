"""Compiled programs: a bound graph under ``tf.function``, its weights held as variables.

The first call traces, optimises the graph and, in mode ``xla``, compiles. TensorFlow offers only the trace apart, so
``prepare`` is left out: a time that held the trace alone would be taken for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import cnnbench_tensorflow.quasi_newton  # noqa: F401 - registers a rule
from cnnbench.execution.compiled import ForwardProgram, GradientProgram, NativeArray, StepProgram
from cnnbench.execution.handover import handed, received
from cnnbench.execution.host import HostArrays, HostGradients, HostResult, HostSlots, HostTraining
from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.losses import LossFunction
from cnnbench.execution.operands import BatchReader, ProgramOperands, micro_batches
from cnnbench.execution.optimizers import clipped_units
from cnnbench.execution.program import ForwardResult
from cnnbench.spec.optimizers import Optimizer
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.optimizers import OPTIMIZERS, clip, update_all


@dataclass(frozen=True)
class TensorFlowSetting:
    """What every program of one compilation shares.

    Args:
        bound: The graph, bound.
        reader: Of its batches; it reads no masks where TensorFlow draws them.
        loss: Its function; None where there is none.
        dtype: Of weights, activations and masks.
        xla: Whether functions are compiled by XLA.
    """

    bound: BoundGraph
    reader: BatchReader
    loss: LossFunction | None
    dtype: Any
    xla: bool

    @property
    def state_dtype(self) -> Any:
        """The dtype of running statistics: never narrower than float32."""
        return tf.float64 if self.dtype == tf.float64 else tf.float32

    def place(self, array: Any, dtype: Any = None) -> Any:
        """A host array as a tensor that shares no memory with it; ``dtype`` instead of int64 or the setting's."""
        array = np.asarray(array)
        wanted = dtype or (tf.int64 if array.dtype.kind == "i" else self.dtype)
        return tf.constant(np.array(array, wanted.as_numpy_dtype))


class _TensorFlowProgram:
    """What every program has: its setting, and its weights and running statistics as variables.

    ``body`` is traced once for each shape of its operands.
    """

    def __init__(self, setting: TensorFlowSetting) -> None:
        self.setting = setting
        self.bound = setting.bound
        self.weights: list[Any] = []
        self.state: list[Any] = []
        self.function = tf.function(self.body, jit_compile=setting.xla, autograph=False)

    def body(self, *operands: Any) -> Any:
        """What ``run`` calls, within a trace."""
        raise NotImplementedError

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        """New values in the variables; they are made at the first load."""
        native, running = self.bound.native(weights, state)
        self.weights = self.assign(self.weights, native)
        self.state = self.assign(self.state, running, self.setting.state_dtype)

    def assign(self, variables: list[Any], arrays: Sequence[Any], dtype: Any = None) -> list[Any]:
        """Variables of these values: the given ones, or new ones where there are none yet."""
        values = [self.setting.place(array, dtype) for array in arrays]
        if not variables:
            return [tf.Variable(value) for value in values]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return variables

    def upload(self, batch: HostArrays) -> ProgramOperands:
        return self.setting.reader.read(batch).map(self.setting.place)

    def forward(self, inputs: Sequence[Any], masks: Sequence[Any], weights: Sequence[Any]) -> ForwardResult:
        """The walk, within a trace."""
        program = self.bound.program
        if program.mask_names and not self.setting.reader.masks:
            masks = self.draw_masks(inputs)
        return program.forward(inputs, weights, [variable.read_value() for variable in self.state], masks)

    def draw_masks(self, inputs: Sequence[Any]) -> list[Any]:
        """Masks from TensorFlow's own generator."""
        graph = self.bound.program.graph
        sizes = [x.shape[0] for x, item in zip(inputs, graph.inputs, strict=True) if item.batched]
        masks = []
        specs = graph.named_masks(sizes[0] if sizes else 1)
        for spec, last in zip(specs, self.bound.masks_channels_last, strict=True):
            shape = spec.shape
            if last and len(shape) > 2:
                shape = tuple(shape[i] for i in LayoutChange(to="channels_last").permutation(len(shape)))
            masks.append(tf.cast(tf.random.uniform(shape) < spec.keep, self.setting.dtype))
        return masks

    def read_weights(self) -> list[Any]:
        """The weights' values, within a trace."""
        self.bound.require_loaded(self.weights)
        return [variable.read_value() for variable in self.weights]


def hosted(values: Iterable[Any]) -> list[Any]:
    """Tensors or variables as host arrays: float64 for float64, int64 for integers, else float32."""
    return [_host(value.numpy()) for value in values]


def _host(array: Any) -> Any:
    if array.dtype.kind in "iu":
        return array.astype("int64")
    return array if array.dtype == np.float64 else array.astype(np.float32)


def dense(gradients: Any) -> Any:
    """Gradients as tensors: that of a table read by row (``tf.gather``) comes as slices with their indices."""
    return tf.nest.map_structure(tf.convert_to_tensor, gradients)


class TensorFlowForward(_TensorFlowProgram, ForwardProgram):
    """A forward pass. In inference the running statistics are those that were loaded, and are not returned."""

    def body(self, *operands: Any) -> Any:
        inputs, masks = operands
        result = self.forward(inputs, masks, self.read_weights())
        return result.outputs, tuple(result.state) if self.bound.program.training else ()

    def run(self, operands: ProgramOperands) -> Any:
        return self.function(operands.inputs, operands.masks)

    def download(self, results: Any) -> HostResult:
        outputs, state = results
        return self.bound.host_result(hosted(outputs), hosted(state if self.bound.program.training else self.state))

    def held(self) -> HostArrays:
        return self.bound.host_arrays(hosted(self.weights), hosted(self.state))


class TensorFlowGradient(_TensorFlowProgram, GradientProgram):
    """Gradients by ``tf.GradientTape`` of a loss, or of the outputs' products with given cotangents."""

    def body(self, *operands: Any) -> Any:
        inputs, masks, targets, cotangents = operands
        weights, loss = self.read_weights(), self.setting.loss
        sources = [weights[i] for i in self.bound.trainable], [inputs[i] for i in self.bound.float_inputs]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            result = self.forward(inputs, masks, weights)
            value = loss(result.outputs[0], targets) if loss else list(result.outputs)
        found = tape.gradient(
            value,
            sources,
            output_gradients=None if loss else list(cotangents),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return (value if loss else tf.constant(math.nan)), dense(found), tuple(result.state)

    def run(self, operands: ProgramOperands) -> Any:
        return self.function(*operands)

    def download(self, results: Any) -> HostGradients:
        value, (weights, inputs), state = results
        loss = None if self.setting.loss is None else float(value.numpy())
        return self.bound.host_gradients(loss, hosted(weights), hosted(inputs), hosted(state))


class TensorFlowStep(_TensorFlowProgram, StepProgram):
    """A training step that updates the variables in place."""

    def __init__(self, setting: TensorFlowSetting, optimizer: Optimizer) -> None:
        super().__init__(setting)
        self._optimizer = optimizer
        OPTIMIZERS.rule(optimizer)  # before anything is compiled
        self._decaying = self.bound.decaying(optimizer)
        self._units = clipped_units(self.bound, optimizer.clipping) if optimizer.clipping else ()
        self._slots: dict[str, list[Any]] = {}
        self._traced = False

    def load(self, weights: HostArrays, state: HostArrays, slots: HostSlots | None = None) -> None:
        super().load(weights, state)
        for slot, arrays in self.bound.native_slots(self._optimizer, slots).items():
            wide = self._optimizer.wide_slots and slot not in self._optimizer.counters
            dtype = self.setting.state_dtype if wide else None
            self._slots[slot] = self.assign(self._slots.get(slot, []), arrays, dtype)

    def body(self, *operands: Any) -> Any:
        *batch, rate = operands
        weights = self.read_weights()
        trained = [weights[i] for i in self.bound.trainable]
        parts = micro_batches(self.bound, ProgramOperands(*batch), self._optimizer.accumulate)
        found = [self._part(weights, part) for _, part in parts]
        value, gradients = found[0]
        if len(parts) > 1:
            shares = [share for share, _ in parts]
            value = tf.add_n([share * loss for share, (loss, _) in zip(shares, found, strict=True)])
            each = zip(*([share * g for g in own] for share, (_, own) in zip(shares, found, strict=True)), strict=True)
            gradients = [tf.add_n(of_weight) for of_weight in each]
        if self._optimizer.clipping:
            gradients = clip(self._optimizer.clipping, trained, gradients, self._units)
        variables = [self.weights[position] for position in self.bound.trainable]
        update_all(self._optimizer, variables, self._slots, gradients, rate, self._decaying)
        return value

    def _part(self, weights: list[Any], part: ProgramOperands) -> tuple[Any, list[Any]]:
        """Loss and gradients of a batch, or of a part of it, which moves the running statistics."""
        trained = [weights[i] for i in self.bound.trainable]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            result = self.forward(part.inputs, part.masks, weights)
            value = self.setting.loss(result.outputs[0], part.targets)
        gradients = dense(tape.gradient(value, trained, unconnected_gradients=tf.UnconnectedGradients.ZERO))
        if self.bound.program.training:
            for variable, new in zip(self.state, result.state, strict=True):
                variable.assign(new)
        return value, gradients

    def run(self, operands: ProgramOperands, learning_rate: float) -> Any:
        setting = self.setting
        rate = tf.constant(learning_rate, setting.state_dtype if self._optimizer.wide_slots else setting.dtype)
        self._traced = True
        return self.function(operands.inputs, operands.masks, operands.targets, rate)

    def loss(self, result: Any) -> float:
        return float(result.numpy())

    def arrays(self) -> Mapping[str, NativeArray]:
        return handed(self.bound, self.weights, self.state)

    def adopt(self, arrays: Mapping[str, NativeArray]) -> None:
        """Before the first run the other program's variables become this one's, too; a trace keeps those it has."""
        self.bound.require_loaded(self.weights)
        found = received(self.bound, arrays)
        for own, taken in ((self.weights, found.weights), (self.state, found.state)):
            for position, variable in taken:
                if not self._traced:
                    own[position] = variable
                elif own[position] is not variable:
                    own[position].assign(variable)

    def snapshot(self) -> HostTraining:
        slots = {slot: hosted(variables) for slot, variables in self._slots.items()}
        return self.bound.host_training(hosted(self.weights), hosted(self.state), slots)
