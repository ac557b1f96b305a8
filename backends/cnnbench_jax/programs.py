"""Forward, gradient and step programs: traced functions, compiled ahead for each shape of batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
from jax import Array

from cnnbench.execution.compiled import ForwardProgram, GradientProgram, NativeArray, StepProgram
from cnnbench.execution.handover import handed, take_over
from cnnbench.execution.host import HostArrays, HostGradients, HostResult, HostSlots, HostTraining
from cnnbench.execution.operands import ProgramOperands
from cnnbench.spec.optimizers import Optimizer
from cnnbench_jax.arrays import host
from cnnbench_jax.tracing import (
    Changed,
    Compiled,
    JaxForwardResults,
    JaxGradientResults,
    JaxSetting,
    JaxStepResults,
    TracedForward,
    TracedGradient,
    TracedStep,
)


class _JaxProgram:
    """What every program has: its setting, and the weights and running statistics that were loaded."""

    def __init__(self, setting: JaxSetting, compiled: Compiled) -> None:
        self.setting = setting
        self.bound = setting.bound
        self._compiled = compiled
        self._weights: list[Array] = []
        self._state: list[Array] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        native, running = self.bound.native(weights, state)
        place = self.setting.placement
        self._weights = [place.array(array) for array in native]
        self._state = [place.array(array, dtype=place.state_dtype) for array in running]

    def upload(self, batch: HostArrays) -> ProgramOperands:
        operands = self.setting.reader.read(batch).map(self.setting.placement.array)
        if self.setting.reader.masks:
            return operands
        return operands._replace(masks=tuple(jax.random.key(i) for i in range(len(self.bound.program.mask_names))))

    def prepare(self, operands: ProgramOperands) -> None:
        self._compiled.prepare(operands, self._weights, self._state)

    def state_after(self, changed: Changed) -> list[Any]:
        """The state on the host after a pass that changed these."""
        return hosted(changed.get(i, old) for i, old in enumerate(self._state))


def hosted(arrays: Iterable[Array]) -> list[Any]:
    """Arrays as host arrays of their own."""
    return [host(array) for array in arrays]


class JaxForward(_JaxProgram, ForwardProgram):
    """A forward pass."""

    def __init__(self, setting: JaxSetting) -> None:
        super().__init__(setting, Compiled(setting, TracedForward(setting)))

    def run(self, operands: ProgramOperands) -> JaxForwardResults:
        result: JaxForwardResults = self._compiled(operands, self._weights, self._state)
        return result

    def download(self, results: JaxForwardResults) -> HostResult:
        return self.bound.host_result(hosted(results.outputs), self.state_after(results.changed))

    def held(self) -> HostArrays:
        return self.bound.host_arrays(hosted(self._weights), hosted(self._state))


class JaxGradient(_JaxProgram, GradientProgram):
    """A forward and reverse pass."""

    def __init__(self, setting: JaxSetting) -> None:
        super().__init__(setting, Compiled(setting, TracedGradient(setting)))

    def run(self, operands: ProgramOperands) -> JaxGradientResults:
        result: JaxGradientResults = self._compiled(operands, self._weights, self._state)
        return result

    def download(self, results: JaxGradientResults) -> HostGradients:
        return self.bound.host_gradients(
            None if self.setting.loss is None else float(results.loss),
            hosted(results.gradients.weights),
            hosted(results.gradients.inputs),
            self.state_after(results.changed),
        )


class JaxStep(_JaxProgram, StepProgram):
    """Loss, gradients and update in one executable, which takes over the buffers of what it replaces."""

    def __init__(self, setting: JaxSetting, optimizer: Optimizer) -> None:
        super().__init__(setting, Compiled(setting, TracedStep(setting, optimizer), donated=(0, 1, 2)))
        self.optimizer = optimizer
        self._slots: dict[str, list[Array]] = {}

    def load(self, weights: HostArrays, state: HostArrays, slots: HostSlots | None = None) -> None:
        super().load(weights, state)
        place, native = self.setting.placement, self.bound.native_slots(self.optimizer, slots)
        self._slots = {}
        for slot, arrays in native.items():
            wide = self.optimizer.wide_slots and slot not in self.optimizer.counters
            dtype = place.state_dtype if wide else None
            self._slots[slot] = [place.array(array, dtype=dtype) for array in arrays]

    def _rate(self, learning_rate: float) -> Array:
        return self.setting.placement.array(learning_rate, dtype=self.setting.placement.state_dtype)

    def prepare(self, operands: ProgramOperands) -> None:
        self._compiled.prepare(operands, self._weights, self._state, self._slots, self._rate(0.0))

    def run(self, operands: ProgramOperands, learning_rate: float) -> Array:
        rate = self._rate(learning_rate)
        result: JaxStepResults = self._compiled(operands, self._weights, self._state, self._slots, rate)
        loss, self._weights, self._state, self._slots = result
        return loss

    def loss(self, result: Array) -> float:
        return float(result)

    def arrays(self) -> Mapping[str, NativeArray]:
        return handed(self.bound, self._weights, self._state)

    def adopt(self, arrays: Mapping[str, NativeArray]) -> None:
        """The next run gives their buffers away, so that they are gone for the program that handed them over."""
        take_over(self.bound, arrays, self._weights, self._state)

    def snapshot(self) -> HostTraining:
        slots = {slot: hosted(arrays) for slot, arrays in self._slots.items()}
        return self.bound.host_training(hosted(self._weights), hosted(self._state), slots)
