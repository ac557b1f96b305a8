"""The bound walk, its gradient and a training step as JAX traces them, and their compilation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import cnnbench_jax.quasi_newton  # noqa: F401 - registers a rule
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.losses import LossFunction
from cnnbench.execution.operands import BatchReader, ProgramOperands, micro_batches
from cnnbench.execution.optimizers import clipped_units
from cnnbench.spec.optimizers import Optimizer
from cnnbench_jax.arrays import JaxPlacement
from cnnbench_jax.optimizers import OPTIMIZERS, clip

Arrays = list[Array]
Changed = dict[int, Array]  # running statistics after a pass, by position; what is not there did not change


@dataclass
class Latest:
    """A value of the latest run, for ``synchronize`` to wait for."""

    value: Array | None = None


@dataclass(frozen=True, eq=False)
class JaxSetting:
    """What every program of one compilation shares.

    Args:
        bound: The graph, bound.
        reader: Of its batches; it reads no masks where keys stand in their place.
        loss: Its function; None where there is none.
        placement: Where its arrays live.
        latest: Where each run leaves a value to wait for.
    """

    bound: BoundGraph
    reader: BatchReader
    loss: LossFunction | None
    placement: JaxPlacement
    latest: Latest


@dataclass
class Compiled:
    """A function that is traced and compiled once for each signature of its operands.

    Args:
        setting: Of the compilation.
        function: Takes what ``prepare`` is given, the operands last.
        donated: The positions of the arguments whose buffers the results may take over.
    """

    setting: JaxSetting
    function: Callable[..., Any]
    donated: tuple[int, ...] = ()
    executables: dict[Any, Any] = field(default_factory=dict)

    def prepare(self, operands: ProgramOperands, weights: Arrays, *others: Any) -> Any:
        """The executable for ``(weights, *others, operands)``, compiled if it is not there yet."""
        signature = _signature(operands)
        if signature not in self.executables:
            self.setting.bound.require_loaded(weights)
            with self.setting.placement.wide_types():
                jitted = jax.jit(self.function, donate_argnums=self.donated)
                self.executables[signature] = jitted.lower(weights, *others, operands).compile()
        return self.executables[signature]

    def __call__(self, operands: ProgramOperands, *others: Any) -> Any:
        """Runs the executable; work may still be queued when it returns."""
        executable = self.prepare(operands, *others)
        self.setting.latest.value = None  # else the previous run's results would stand beside this one's
        result = executable(*others, operands)
        self.setting.latest.value = jax.tree.leaves(result)[0]
        return result


def _signature(operands: ProgramOperands) -> tuple[Any, ...]:
    return tuple([leaf.shape for leaf in (*operands.inputs, *operands.masks)])


class JaxForwardResults(NamedTuple):
    """Outputs, and the running statistics that changed."""

    outputs: tuple[Array, ...]
    changed: Changed


@dataclass(frozen=True, eq=False)
class TracedForward:
    """The walk: (weights, state, operands) -> results."""

    setting: JaxSetting

    def __call__(self, weights: Arrays, state: Arrays, operands: ProgramOperands) -> JaxForwardResults:
        result = self.setting.bound.program.forward(operands.inputs, weights, state, operands.masks)
        pairs = enumerate(zip(state, result.state, strict=True))
        return JaxForwardResults(result.outputs, {i: new for i, (old, new) in pairs if new is not old})


class Leaves(NamedTuple):
    """What is differentiated: trainable weights and float inputs."""

    weights: Arrays
    inputs: Arrays


class JaxGradientResults(NamedTuple):
    """The loss (a scalar zero where there is none), the gradients, and the running statistics that changed."""

    loss: Array
    gradients: Leaves
    changed: Changed


@dataclass(frozen=True, eq=False)
class TracedGradient:
    """Gradients of trainable weights and float inputs by ``jax.vjp``: (weights, state, operands) -> results."""

    setting: JaxSetting

    def __call__(self, weights: Arrays, state: Arrays, operands: ProgramOperands) -> JaxGradientResults:
        bound, loss, forward = self.setting.bound, self.setting.loss, TracedForward(self.setting)
        leaves = Leaves([weights[i] for i in bound.trainable], [operands.inputs[i] for i in bound.float_inputs])

        def value(leaves: Leaves) -> tuple[Any, Changed]:
            full, inputs = list(weights), list(operands.inputs)
            for i, leaf in zip(bound.trainable, leaves.weights, strict=True):
                full[i] = leaf
            for i, leaf in zip(bound.float_inputs, leaves.inputs, strict=True):
                inputs[i] = leaf
            outputs, changed = forward(full, state, operands._replace(inputs=tuple(inputs)))
            return outputs if loss is None else loss(outputs[0], operands.targets), changed

        result, pull_back, changed = jax.vjp(value, leaves, has_aux=True)
        if loss is None:
            return JaxGradientResults(jnp.zeros((), jnp.float32), pull_back(operands.cotangents)[0], changed)
        return JaxGradientResults(result, pull_back(jnp.ones_like(result))[0], changed)


class JaxStepResults(NamedTuple):
    """The loss before the step, and everything that training holds after it."""

    loss: Array
    weights: Arrays
    state: Arrays
    slots: dict[str, Arrays]


class TracedStep:
    """Gradients and update: (weights, state, slots, rate, operands) -> results."""

    def __init__(self, setting: JaxSetting, optimizer: Optimizer) -> None:
        self._bound, self._trainable = setting.bound, setting.bound.trainable
        self._accumulate = optimizer.accumulate
        self._differentiate = TracedGradient(setting)
        self._update = OPTIMIZERS.rule(optimizer)(optimizer, setting.bound.decaying(optimizer))
        self._clipping = optimizer.clipping
        self._units = clipped_units(setting.bound, optimizer.clipping) if optimizer.clipping else ()

    def __call__(
        self,
        weights: Arrays,
        state: Arrays,
        slots: dict[str, Arrays],
        rate: Array,
        operands: ProgramOperands,
    ) -> JaxStepResults:
        loss, gradients, running = self._gradients(weights, state, operands)
        trained = [weights[i] for i in self._trainable]
        if self._clipping:
            gradients = clip(self._clipping, trained, gradients, self._units)
        trained, slots = self._update(trained, gradients, slots, rate)
        after = list(weights)
        for i, weight in zip(self._trainable, trained, strict=True):
            after[i] = weight
        return JaxStepResults(loss, after, running, slots)

    def _gradients(self, weights: Arrays, state: Arrays, operands: ProgramOperands) -> tuple[Array, Arrays, Arrays]:
        """Loss, gradients and state of the batch, or of its micro-batches in turn, averaged."""
        parts = micro_batches(self._bound, operands, self._accumulate)
        loss, sums = jnp.zeros(()), []
        for share, part in parts:
            result = self._differentiate(weights, state, part)
            state = [result.changed.get(i, old) for i, old in enumerate(state)]
            if len(parts) == 1:
                return result.loss, result.gradients.weights, state
            shares = [gradient * share for gradient in result.gradients.weights]
            sums = [a + b for a, b in zip(sums, shares, strict=True)] if sums else shares
            loss = loss + share * result.loss
        return loss, sums, state
