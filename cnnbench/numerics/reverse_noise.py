"""Gradient passes of the reference whose gradients are moved by noise of the size of their sharp budgets."""

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
from cnnbench.numerics.budgets.base import GradientSetting, gradient_budget
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
    """The sharp budget of every gradient in one gradient pass, and passes that are perturbed by noise of that size.

    For example, a network of three layers has three backward calls. A pass within ``recording`` notes the budgets of
    the gradients that each of them gives, in the order in which they run. A pass of the same graph within
    ``perturbed`` makes the same three calls in the same order, so that the first call gets noise of the first budgets,
    and so on.

    Args:
        policy: The arithmetic whose roundings the noise imitates.
        loss: What the gradient is of. Its own gradient gets noise too. None where cotangents are given instead.
        targets: Of the loss.
        of_loss: The sharp budget of the loss's gradient with respect to the main output.
        amplitudes: For each backward call, the sharp budgets of the gradients of its inputs and of its weights.
    """

    policy: PrecisionPolicy
    loss: Loss | None
    targets: Array | None = None
    of_loss: Array | None = None
    amplitudes: list[tuple[Amplitudes, Amplitudes]] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[InProcessSubject]:
        """A reference, exact as it is, whose next gradient pass notes the budgets here."""
        self.amplitudes.clear()
        self.of_loss = None
        recorder = _Recorder(self)
        with _observed(recorder) as subject:
            yield subject
        if self.loss is not None and self.targets is not None and recorder.first is not None:
            output, gradient = recorder.first
            self.of_loss = _narrow(loss_gradient_budget(self.loss, output, self.targets, gradient, self.policy).sharp)

    @contextmanager
    def perturbed(self, generator: np.random.Generator) -> Iterator[InProcessSubject]:
        """A reference whose gradients each move by uniform noise in +- their budget, over one pass or several."""
        with _observed(_Perturber(self, generator)) as subject:
            yield subject


class _Observer(Protocol):
    """Sees the cotangents and the gradients of each backward call, and may change both."""

    def before(self, saved: _Saved, cotangents: Amplitudes) -> Amplitudes:
        """The cotangents that the op is to get for those that it would get."""
        ...

    def after(self, saved: _Saved, cotangents: Amplitudes, gradients: Gradients) -> Gradients:
        """The gradients that are to go on for those that the op gave."""
        ...


@dataclass
class _Recorder:
    """Changes nothing, and notes the budgets."""

    noise: ReverseNoise
    first: tuple[Array, Array] | None = None  # the main output, and its cotangent from the loss

    def before(self, saved: _Saved, cotangents: Amplitudes) -> Amplitudes:
        if self.first is None and cotangents[0] is not None:
            self.first = (saved.outputs[0], cotangents[0])
        return cotangents

    def after(self, saved: _Saved, cotangents: Amplitudes, gradients: Gradients) -> Gradients:
        pairs = zip(_filled(cotangents, saved.outputs), saved.outputs, strict=True)
        floats = tuple(g for g, y in pairs if y.dtype.kind == "f")  # outputs of integers have no cotangent
        exact = LayerGradients(_filled(gradients.inputs, saved.call.inputs), gradients.weights)
        values = LayerValues(saved.outputs, saved.state)
        setting = GradientSetting(saved.call, values, self.noise.policy, reference(), floats, exact)
        budget = gradient_budget(setting)
        of_weights = tuple(None if b is None else _narrow(b.sharp) for b in budget.weights)
        of_inputs = tuple(None if b is None else _narrow(b.sharp) for b in budget.inputs)
        self.noise.amplitudes.append((of_inputs, of_weights))
        return gradients


@dataclass
class _Perturber:
    """Moves the loss's gradient before the first call of a pass, and each call's gradients after it."""

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
    """Zeros where there is no gradient."""
    return tuple(np.zeros_like(x) if g is None else g for g, x in zip(gradients, like, strict=True))


def _narrow(sharp: Array) -> Array:
    return np.asarray(sharp, np.float32)


def _moved(
    gradients: Sequence[Array | None], amplitudes: Amplitudes, generator: np.random.Generator
) -> tuple[Array | None, ...]:
    return tuple(
        g if g is None or size is None else g + (_of_part(size, g) * generator.uniform(-1, 1, g.shape)).astype(g.dtype)
        for g, size in zip(gradients, amplitudes, strict=True)
    )


def _of_part(size: Array, gradient: Array) -> Array:
    """Amplitudes for a micro-batch from those of the whole batch: its mean is over fewer images."""
    if not size.ndim or len(size) <= len(gradient):
        return size
    return np.asarray(size.max(axis=0) * (len(size) / len(gradient)))


@contextmanager
def _observed(observer: _Observer) -> Iterator[InProcessSubject]:
    """A reference of its own, each of whose backward calls the observer sees.

    The shared reference stays as it is: budgets ask it during the pass, and a budget that is measured runs a perturbed
    pass within the recorded one.
    """
    backend = load_backend("numpy")
    right = backend.operations
    changed = right
    for kind in right:
        if right[kind].backward is not None:
            changed = changed.replace(kind, _with_observer(right, kind, observer))
    backend.operations = changed
    try:
        yield InProcessSubject(backend)
    finally:
        backend.operations = right


def _with_observer(operations: Operations, kind: str, observer: _Observer) -> Operation:
    own = operations[kind]

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = own.forward(layer, inputs, weights, state, call)
        known = LayerCall(layer, inputs, weights, state, call.masks, training=call.training)
        return result._replace(saved=_Saved(result.saved, known, result.outputs, result.state))

    def backward(layer: Any, saved: _Saved, cotangents: Arrays, weights: Arrays, call: Call) -> Gradients:
        assert own.backward is not None
        seen: Any = observer.before(saved, cotangents)
        return observer.after(saved, seen, own.backward(layer, saved.own, seen, weights, call))

    return Operation(forward, backward, own.weight_layout)
