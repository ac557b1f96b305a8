"""Noise for the reverse pass of the reference: each op's gradients move by their sharp budgets, as its outputs do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.backends import load_backend
from cnnbench.execution.operations import Call, Gradients, Operation, Operations, OpResult
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.budgets import GradientSetting, gradient_budget
from cnnbench.numerics.budgets.loss import loss_gradient_budget
from cnnbench.numerics.reference import LayerCall, LayerGradients, LayerValues, reference
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.losses import Loss

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Amplitudes = tuple[Array | None, ...]


class _Saved(NamedTuple):
    """What an op's own backward function needs, and the call that it belongs to."""

    own: Any
    call: LayerCall
    outputs: Arrays
    state: Arrays


@dataclass
class ReverseNoise:
    """The sharp budgets of every backward call of one gradient pass, in the order of the reverse walk.

    Record them in a pass of the exact reference (``recording``), then run perturbed passes of the same graph
    (``perturbed``): a pass visits the same ops in the same order, which is how a call finds its budget.

    Args:
        policy: The arithmetic whose roundings are imitated.
        loss, targets: What the gradient is of; its own rounding moves what arrives at the main output. None for
            cotangents that are given.
        of_loss: The sharp budget of the loss's gradient.
        amplitudes: For each backward call, the sharp budgets of the gradients of its inputs and weights.
    """

    policy: PrecisionPolicy
    loss: Loss | None
    targets: Array | None = None
    of_loss: Array | None = None
    amplitudes: list[tuple[Amplitudes, Amplitudes]] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[InProcessSubject]:
        """A reference whose gradient pass leaves the budgets here."""
        self.amplitudes.clear()
        self.of_loss = None
        recorder = _Recorder(self)
        with _wrapped(recorder) as subject:
            yield subject
        if self.loss is not None and self.targets is not None and recorder.first is not None:
            output, gradient = recorder.first
            self.of_loss = _narrow(loss_gradient_budget(self.loss, output, self.targets, gradient, self.policy).sharp)

    @contextmanager
    def perturbed(self, generator: np.random.Generator) -> Iterator[InProcessSubject]:
        """A reference whose gradients each move by uniform noise in +- their budget, over one pass or several."""
        with _wrapped(_Perturber(self, generator)) as subject:
            yield subject


class _Treatment(Protocol):
    """What is done around a backward call."""

    def before(self, saved: _Saved, cotangents: Amplitudes) -> Amplitudes:
        """What arrives at the op."""
        ...

    def after(self, saved: _Saved, cotangents: Amplitudes, gradients: Gradients) -> Gradients:
        """What leaves it."""
        ...


@dataclass
class _Recorder:
    noise: ReverseNoise
    first: tuple[Array, Array] | None = None  # the main output, and what the loss gives it

    def before(self, saved: _Saved, cotangents: Amplitudes) -> Amplitudes:
        if self.first is None and cotangents[0] is not None:
            self.first = (saved.outputs[0], cotangents[0])
        return cotangents

    def after(self, saved: _Saved, cotangents: Amplitudes, gradients: Gradients) -> Gradients:
        pairs = zip(_filled(cotangents, saved.outputs), saved.outputs, strict=True)
        arrived = tuple(g for g, y in pairs if y.dtype.kind == "f")  # none is asked of integers
        exact = LayerGradients(_filled(gradients.inputs, saved.call.inputs), gradients.weights)
        values = LayerValues(saved.outputs, saved.state)
        setting = GradientSetting(saved.call, values, self.noise.policy, reference(), arrived, exact)
        budget = gradient_budget(setting)
        of_weights = tuple(None if b is None else _narrow(b.sharp) for b in budget.weights)
        of_inputs = tuple(None if b is None else _narrow(b.sharp) for b in budget.inputs)
        self.noise.amplitudes.append((of_inputs, of_weights))
        return gradients


@dataclass
class _Perturber:
    noise: ReverseNoise
    generator: np.random.Generator
    position: int = 0

    def before(self, saved: _Saved, cotangents: Amplitudes) -> Amplitudes:
        if self.position % len(self.noise.amplitudes) == 0:
            return _moved(cotangents, (self.noise.of_loss,) + (None,) * (len(cotangents) - 1), self.generator)
        return cotangents

    def after(self, saved: _Saved, cotangents: Amplitudes, gradients: Gradients) -> Gradients:
        of_inputs, of_weights = self.noise.amplitudes[self.position % len(self.noise.amplitudes)]
        self.position += 1
        return Gradients(
            _moved(gradients.inputs, of_inputs, self.generator), _moved(gradients.weights, of_weights, self.generator)
        )


def _filled(gradients: Amplitudes, like: Arrays) -> Arrays:
    return tuple(np.zeros_like(x) if g is None else g for g, x in zip(gradients, like, strict=True))


def _narrow(sharp: Array) -> Array:
    return np.asarray(sharp, np.float32)


def _moved(
    gradients: Sequence[Array | None], amplitudes: Amplitudes, generator: np.random.Generator
) -> tuple[Array | None, ...]:
    return tuple(
        g if g is None or size is None else g + (size * generator.uniform(-1, 1, g.shape)).astype(g.dtype)
        for g, size in zip(gradients, amplitudes, strict=True)
    )


@contextmanager
def _wrapped(treatment: _Treatment) -> Iterator[InProcessSubject]:
    """The reference with ``treatment`` around each backward call.

    An instance of its own: budgets ask the reference meanwhile, and one may be measured within the pass of another.
    """
    backend = load_backend("numpy")
    right = backend.operations
    changed = right
    for kind in right:
        if right[kind].backward is not None:
            changed = changed.replace(kind, _treated(right, kind, treatment))
    backend.operations = changed
    try:
        yield InProcessSubject(backend)
    finally:
        backend.operations = right


def _treated(operations: Operations, kind: str, treatment: _Treatment) -> Operation:
    own = operations[kind]

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = own.forward(layer, inputs, weights, state, call)
        known = LayerCall(layer, inputs, weights, state, call.masks, training=call.training)
        return result._replace(saved=_Saved(result.saved, known, result.outputs, result.state))

    def backward(layer: Any, saved: _Saved, cotangents: Arrays, weights: Arrays, call: Call) -> Gradients:
        assert own.backward is not None
        arriving: Any = treatment.before(saved, cotangents)
        return treatment.after(saved, arriving, own.backward(layer, saved.own, arriving, weights, call))

    return Operation(forward, backward, own.weight_layout)
