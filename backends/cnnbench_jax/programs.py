"""Forward, gradient and step programs: the bound walk under ``jit``, compiled ahead for each shape of batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

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
from cnnbench_jax.arrays import Operands, Placement, host
from cnnbench_jax.losses import LossFunction
from cnnbench_jax.optimizers import make_update, zero_slots

if TYPE_CHECKING:
    from cnnbench.execution.contract import HostArrays

Changed = dict[int, Array]  # running statistics after a pass, by position; what is not there did not change


@dataclass
class Latest:
    """A value of the latest run, for ``synchronize`` to wait for."""

    value: Array | None = None


@dataclass(frozen=True, eq=False)
class Setting:
    """What every program of one compilation shares.

    Args:
        bound: The graph, bound.
        placement: Where its arrays live.
        latest: Where each run leaves a value to wait for.
        native_randomness: Whether keys stand in the place of dropout masks.
    """

    bound: BoundGraph
    placement: Placement
    latest: Latest
    native_randomness: bool

    def load(self, weights: HostArrays, state: HostArrays) -> tuple[list[Array], list[Array]]:
        """Weights and state on the device."""
        native, running = self.bound.native(weights, state)
        place = self.placement
        return [place.array(a) for a in native], [place.array(a, dtype=place.state_dtype) for a in running]

    def operands(self, batch: HostArrays, *, loss: bool = False, cotangents: bool = False) -> Operands:
        """The batch on the device. Raises DataError that names what is missing."""
        program, place = self.bound.program, self.placement

        def take(name: str) -> Any:
            if name not in batch:
                raise DataError(f"the batch has no {name!r}", remedy=did_you_mean(name, batch))
            return np.asarray(batch[name])

        inputs = tuple(
            place.array(take(item.name), dtype=np.int32 if item.dtype == "int" else None)
            for item in program.graph.inputs
        )
        targets = None
        if loss:
            values = take("targets")
            targets = place.array(values, dtype=np.int32 if values.dtype.kind in "iu" else None)
        arriving: tuple[Array, ...] = ()
        if cotangents:
            arriving = tuple(place.array(take(f"gradient.{name}")) for name, _ in program.graph.outputs)
        return Operands(inputs, self._masks(take), targets, arriving)

    def _masks(self, take: Callable[[str], Any]) -> tuple[Array, ...]:
        names = self.bound.program.mask_names
        if self.native_randomness:
            return tuple(jax.random.key(i) for i in range(len(names)))
        masks = []
        for name, last in zip(names, self.bound.masks_channels_last, strict=True):
            mask = take(name)
            masks.append(self.placement.array(np.moveaxis(mask, 1, -1) if last and mask.ndim > 2 else mask))
        return tuple(masks)

    def forward(self, weights: Sequence[Array], state: Sequence[Array], operands: Operands) -> tuple[Any, Changed]:
        """The walk, traced: outputs and the state that changed."""
        result = self.bound.program.forward(operands.inputs, weights, state, operands.masks)
        pairs = enumerate(zip(state, result.state, strict=True))
        return result.outputs, {i: new for i, (old, new) in pairs if new is not old}

    def named_state(self, state: Sequence[Array], changed: Changed) -> dict[str, Any]:
        """The state after a pass on the host, by name."""
        names = self.bound.program.state_names
        return {name: host(changed.get(i, state[i])) for i, name in enumerate(names)}

    def named_weight(self, position: int, array: Array) -> tuple[str, Any]:
        """(name, canonical host array) of a weight, its gradient or its slot."""
        return self.bound.program.weight_names[position], self.bound.canonical(position, host(array))


@dataclass
class Compiled:
    """A function that is traced and compiled once for each signature of its operands."""

    setting: Setting
    function: Callable[..., Any]
    donated: tuple[int, ...] = ()
    executables: dict[Any, Any] = field(default_factory=dict)

    def prepare(self, operands: Operands, *others: Any) -> Any:
        """The executable for ``(*others, operands)``, compiled if it is not there yet."""
        signature = _signature(operands)
        if signature not in self.executables:
            with self.setting.placement.wide_types():
                jitted = jax.jit(self.function, donate_argnums=self.donated)
                self.executables[signature] = jitted.lower(*others, operands).compile()
        return self.executables[signature]

    def __call__(self, operands: Operands, *others: Any) -> Any:
        """Runs the executable; work may still be queued when it returns."""
        executable = self.prepare(operands, *others)
        self.setting.latest.value = None  # else the previous run's results would stand beside this one's
        result = executable(*others, operands)
        self.setting.latest.value = jax.tree.leaves(result)[0]
        return result


def _signature(operands: Operands) -> tuple[Any, ...]:
    return tuple([leaf.shape for leaf in (*operands.inputs, *operands.masks)])


class ForwardResults(NamedTuple):
    """Outputs, and the running statistics that changed."""

    outputs: tuple[Array, ...]
    changed: Changed


class JaxForward(ForwardProgram):
    """A forward pass."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._compiled = Compiled(setting, lambda w, s, operands: ForwardResults(*setting.forward(w, s, operands)))
        self._weights: list[Array] = []
        self._state: list[Array] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        self._weights, self._state = self.setting.load(weights, state)

    def upload(self, batch: HostArrays) -> Operands:
        return self.setting.operands(batch)

    def prepare(self, operands: Operands) -> None:
        self._compiled.prepare(operands, self._weights, self._state)

    def run(self, operands: Operands) -> ForwardResults:
        result: ForwardResults = self._compiled(operands, self._weights, self._state)
        return result

    def download(self, results: ForwardResults) -> HostResult:
        names = [name for name, _ in self.setting.bound.program.graph.outputs]
        outputs = {name: host(value) for name, value in zip(names, results.outputs, strict=True)}
        return HostResult(outputs, self.setting.named_state(self._state, results.changed))


class Leaves(NamedTuple):
    """What is differentiated: trainable weights and float inputs."""

    weights: list[Array]
    inputs: list[Array]


class GradientResults(NamedTuple):
    """The loss (a scalar zero where there is none), the gradients, and the running statistics that changed."""

    loss: Array
    gradients: Leaves
    changed: Changed


@dataclass(frozen=True, eq=False)
class Differentiation:
    """Gradients of a bound graph with respect to its trainable weights and float inputs, by ``jax.vjp``."""

    setting: Setting
    loss: LossFunction | None

    def __call__(self, weights: list[Array], state: list[Array], operands: Operands) -> GradientResults:
        """One forward and reverse pass, traced."""
        bound = self.setting.bound
        leaves = Leaves([weights[i] for i in bound.trainable], [operands.inputs[i] for i in bound.float_inputs])

        def value(leaves: Leaves) -> tuple[Any, Changed]:
            full, inputs = list(weights), list(operands.inputs)
            for i, leaf in zip(bound.trainable, leaves.weights, strict=True):
                full[i] = leaf
            for i, leaf in zip(bound.float_inputs, leaves.inputs, strict=True):
                inputs[i] = leaf
            outputs, changed = self.setting.forward(full, state, operands._replace(inputs=tuple(inputs)))
            return outputs if self.loss is None else self.loss(outputs[0], operands.targets), changed

        result, pull_back, changed = jax.vjp(value, leaves, has_aux=True)
        if self.loss is None:
            return GradientResults(jnp.zeros((), jnp.float32), pull_back(operands.cotangents)[0], changed)
        return GradientResults(result, pull_back(jnp.ones_like(result))[0], changed)


class JaxGradient(GradientProgram):
    """A forward and reverse pass."""

    def __init__(self, setting: Setting, loss: LossFunction | None) -> None:
        self.setting = setting
        self.loss = loss
        self._compiled = Compiled(setting, Differentiation(setting, loss))
        self._weights: list[Array] = []
        self._state: list[Array] = []

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        self._weights, self._state = self.setting.load(weights, state)

    def upload(self, batch: HostArrays) -> Operands:
        return self.setting.operands(batch, loss=self.loss is not None, cotangents=self.loss is None)

    def prepare(self, operands: Operands) -> None:
        self._compiled.prepare(operands, self._weights, self._state)

    def run(self, operands: Operands) -> GradientResults:
        result: GradientResults = self._compiled(operands, self._weights, self._state)
        return result

    def download(self, results: GradientResults) -> HostGradients:
        setting, bound = self.setting, self.setting.bound
        found = results.gradients
        weights = dict(setting.named_weight(i, g) for i, g in zip(bound.trainable, found.weights, strict=True))
        names = [bound.source.inputs[i].name for i in bound.float_inputs]
        inputs = {name: host(gradient) for name, gradient in zip(names, found.inputs, strict=True)}
        loss = float("nan") if self.loss is None else float(results.loss)
        return HostGradients(loss, weights, inputs, setting.named_state(self._state, results.changed))


class StepResults(NamedTuple):
    """The loss before the step, and everything that training holds after it."""

    loss: Array
    weights: list[Array]
    state: list[Array]
    slots: dict[str, list[Array]]


class JaxStep(StepProgram):
    """Loss, gradients and update in one executable, which takes over the buffers of what it replaces."""

    def __init__(self, setting: Setting, loss: LossFunction, optimizer: Optimizer) -> None:
        self.setting = setting
        self.optimizer = optimizer
        names = setting.bound.program.weight_names
        decaying = decays(setting.bound.source, getattr(optimizer, "decay", "all"))
        self._update = make_update(optimizer, [decaying[names[i]] for i in setting.bound.trainable])
        self._differentiate = Differentiation(setting, loss)
        self._compiled = Compiled(setting, self._step, donated=(0, 1, 2))
        self._weights: list[Array] = []
        self._state: list[Array] = []
        self._slots: dict[str, list[Array]] = {}

    def _step(
        self, weights: list[Array], state: list[Array], slots: dict[str, list[Array]], rate: Array, operands: Operands
    ) -> StepResults:
        result = self._differentiate(weights, state, operands)
        trainable = self.setting.bound.trainable
        trained, slots = self._update([weights[i] for i in trainable], result.gradients.weights, slots, rate)
        after = list(weights)
        for i, weight in zip(trainable, trained, strict=True):
            after[i] = weight
        return StepResults(result.loss, after, [result.changed.get(i, old) for i, old in enumerate(state)], slots)

    def load(self, weights: HostArrays, state: HostArrays, slots: HostArrays | None = None) -> None:
        bound, place = self.setting.bound, self.setting.placement
        self._weights, self._state = self.setting.load(weights, state)
        if slots is None:
            with place.wide_types():
                self._slots = zero_slots(self.optimizer, [self._weights[i] for i in bound.trainable])
            return
        self._slots = {
            slot: [
                place.array(bound.weights[i].to_native(slots[f"{bound.program.weight_names[i]}/{slot}"]))
                for i in bound.trainable
            ]
            for slot in self.optimizer.slots
        }

    def upload(self, batch: HostArrays) -> Operands:
        return self.setting.operands(batch, loss=True)

    def _rate(self, learning_rate: float) -> Array:
        return self.setting.placement.array(learning_rate, dtype=self.setting.placement.state_dtype)

    def prepare(self, operands: Operands) -> None:
        self._compiled.prepare(operands, self._weights, self._state, self._slots, self._rate(0.0))

    def run(self, operands: Operands, learning_rate: float) -> Array:
        rate = self._rate(learning_rate)
        result: StepResults = self._compiled(operands, self._weights, self._state, self._slots, rate)
        loss, self._weights, self._state, self._slots = result
        return loss

    def loss(self, result: Array) -> float:
        return float(result)

    def snapshot(self) -> HostTraining:
        setting = self.setting
        weights = dict(setting.named_weight(i, array) for i, array in enumerate(self._weights))
        slots = {}
        for slot, arrays in self._slots.items():
            for i, array in zip(setting.bound.trainable, arrays, strict=True):
                name, values = setting.named_weight(i, array)
                slots[f"{name}/{slot}"] = values
        return HostTraining(weights, setting.named_state(self._state, {}), slots)
