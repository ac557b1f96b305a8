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
from cnnbench.numerics.budgets.shared import ValueNoise
from cnnbench.numerics.reference import LayerCall, LayerGradients, LayerValues, reference
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.losses import Loss

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Amplitudes = tuple[Array | None, ...]
NoiseOf = tuple[ValueNoise | None, ...]


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
        states: How far running statistics move where they are made, in the order of the nodes that have them.
        of_loss: How far the loss's gradient with respect to the main output moves.
        amplitudes: For each backward call, how far the gradients of its inputs and of its weights move.
    """

    policy: PrecisionPolicy
    loss: Loss | None
    targets: Array | None = None
    states: Sequence[tuple[ValueNoise, ...]] = ()
    of_loss: ValueNoise | None = None
    amplitudes: list[tuple[NoiseOf, NoiseOf]] = field(default_factory=list)

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
            budget = loss_gradient_budget(self.loss, output, self.targets, gradient, self.policy)
            self.of_loss = ValueNoise.of(budget.sharp)

    @contextmanager
    def perturbed(self, generator: np.random.Generator) -> Iterator[InProcessSubject]:
        """A reference whose gradients each move by uniform noise in +- their budget, over one pass or several."""
        with _observed(_Perturber(self, generator)) as subject:
            yield subject


class _Observer(Protocol):
    """Sees the running statistics that a forward call makes, and the cotangents and gradients of each backward call.

    It may change them all.
    """

    def made(self, state: Arrays) -> Arrays:
        """The running statistics that are to be kept for those that an op made; there are some."""
        ...

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

    def made(self, state: Arrays) -> Arrays:
        return state

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
        of_inputs = tuple(
            None if b is None else ValueNoise.of(b.sharp, () if i else budget.shared)
            for i, b in enumerate(budget.inputs)
        )
        of_weights = tuple(None if b is None else ValueNoise.of(b.sharp) for b in budget.weights)
        self.noise.amplitudes.append((of_inputs, of_weights))
        return gradients


@dataclass
class _Perturber:
    """Moves the loss's gradient before the first call of a pass, and each call's gradients after it."""

    noise: ReverseNoise
    generator: np.random.Generator
    position: int = 0
    states: int = 0

    def made(self, state: Arrays) -> Arrays:
        if not self.noise.states:
            return state
        sizes = self.noise.states[self.states % len(self.noise.states)]
        self.states += 1
        return tuple(s + n.draw(self.generator, s.shape).astype(s.dtype) for s, n in zip(state, sizes, strict=True))

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


def _moved(
    arrays: Sequence[Array | None], amplitudes: NoiseOf, generator: np.random.Generator
) -> tuple[Array | None, ...]:
    pairs = zip(arrays, amplitudes, strict=True)
    return tuple(a if a is None or size is None else a + _drawn(a, size, generator) for a, size in pairs)


def _drawn(array: Array, size: ValueNoise, generator: np.random.Generator) -> Array:
    """Noise for a gradient, which may be of a micro-batch."""
    drawn = size.of_images(len(array) if array.ndim else 1).draw(generator, array.shape)
    return drawn.astype(array.dtype)


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
        kept = observer.made(result.state) if call.training and result.state else result.state
        return result._replace(state=kept, saved=_Saved(result.saved, known, result.outputs, result.state))

    def backward(layer: Any, saved: _Saved, cotangents: Arrays, weights: Arrays, call: Call) -> Gradients:
        assert own.backward is not None
        seen: Any = observer.before(saved, cotangents)
        return observer.after(saved, seen, own.backward(layer, saved.own, seen, weights, call))

    return Operation(forward, backward, own.weight_layout)
