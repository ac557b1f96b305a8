"""Crossings: values so near to a kink that rounding decides on which side they lie, and what crossing changes.

A kink is a point where a layer's derivative jumps. For example, a ReLU's input is 3e-9 in float64, and float32 errors
in its channel reach 2e-8. A backend that computes -5e-9 is correct too, but its gradient for that image lacks a term.
Perturbed runs show this only if one of them happens to cross there. So the exact run is repeated with that value moved
to the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import Backend
from cnnbench.execution.operations import Call, Operation, OpResult
from cnnbench.numerics.calibration import SAFETY, Envelope
from cnnbench.numerics.comparison import largest_differences
from cnnbench.numerics.ties import kinds_with_ties

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Values = Mapping[str, Array]
BENT = (
    "clip",
    "elementwise",
    "elu",
    "maximum",
    "minimum",
    "selu",
    "shrink",
    "thresholded_relu",
)  # beside those with ties
SEPARATE = 4  # the most runs with values moved across kinks: one for each crossing, or for each share of them
JUMP = 1e-3  # the share of the largest slope by which a slope changes at a kink; rounding changes it by far less


class _Operand(NamedTuple):
    """The arguments of one call of a layer with kinks."""

    operation: Operation
    layer: Any
    inputs: Arrays
    weights: Arrays
    call: Call


class Observer(Protocol):
    """Receives the input of every layer with kinks, step by step, and may change it."""

    def step(self, number: int) -> None:
        """Called before each training step, with its number from 0."""
        ...

    def see(self, operand: _Operand) -> Array:
        """Called before each such layer; returns the first input that it is to compute with."""
        ...


Start = Callable[[Observer], Iterator[Values]]
"""Starts a run of the reference under an observer, and yields the values after each step when they are asked for."""


class Crossing(NamedTuple):
    """The elements of one image that lie next to kinks in one call of a layer.

    Args:
        step: The training step, from 0.
        position: Number of the call, among the step's calls of layers with kinks.
        elements: Indices into the flattened input.
        across: What is added to each of them, so that it lies on the other side of its kink.
    """

    step: int
    position: int
    elements: Array
    across: Array


@contextmanager
def observed(backend: Backend, observer: Observer) -> Iterator[None]:
    """Within this context, programs that the backend compiles pass the inputs of layers with kinks to an observer.

    Args:
        backend: A backend instance that nothing else uses.
        observer: The observer.
    """
    right = backend.operations
    changed = right
    for kind in sorted({*kinds_with_ties(), *BENT} & set(right)):
        changed = changed.replace(kind, _with_observer(right[kind], observer))
    backend.operations = changed
    try:
        yield
    finally:
        backend.operations = right


def _with_observer(own: Operation, observer: Observer) -> Operation:
    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        first = observer.see(_Operand(own, layer, inputs, weights, call))
        return own.forward(layer, (first, *inputs[1:]), weights, state, call)

    return Operation(forward, own.backward, own.weight_layout)


@dataclass
class _Operands:
    """An observer that keeps the calls of the current step."""

    seen: list[_Operand] = field(default_factory=list)

    def step(self, number: int) -> None:
        self.seen.clear()

    def see(self, operand: _Operand) -> Array:
        self.seen.append(operand)
        return operand.inputs[0]


@dataclass
class _Across:
    """An observer that moves the elements of some crossings to the other side of their kinks."""

    crossings: Sequence[Crossing]
    at: int = 0
    position: int = 0

    def step(self, number: int) -> None:
        self.at, self.position = number, 0

    def see(self, operand: _Operand) -> Array:
        x = operand.inputs[0]
        mine = [item for item in self.crossings if (item.step, item.position) == (self.at, self.position)]
        self.position += 1
        if not mine:
            return x
        moved = np.array(x, order="C")
        for item in mine:
            moved.reshape(-1)[item.elements] += item.across.astype(moved.dtype)
        return moved


def reach(exact: Start, noisy: Sequence[Start], right: Sequence[Values]) -> list[dict[str, float]]:
    """How far crossings move each value after each step; empty where no element lies within its noise of a kink.

    The noise of an element is ``SAFETY`` times the largest error in its channel. The error is taken from the noisy run
    with the smallest one, because in another run a crossing before this layer may have made it large.

    Up to ``SEPARATE`` crossings are made in a run each, and their effects are added. More crossings are divided among
    ``SEPARATE`` runs: their effects have either sign and partly cancel, and perturbed runs contain many of them.

    Args:
        exact: Starts the run in float64.
        noisy: Start runs of the same with the policy's rounding errors.
        right: The values after each step of the exact run.
    """
    found = _crossings(exact, noisy, len(right))
    parts = [_Across(found[i::SEPARATE]) for i in range(min(SEPARATE, len(found)))]
    if not parts:
        return []
    together = _together([exact] * len(parts), parts, len(right))
    total: list[dict[str, float]] = []
    for known, moved in zip(right, together, strict=True):
        gaps = [largest_differences(values, known) for values in moved]
        total.append({name: sum(gap[name] for gap in gaps) for name in known})
    return total


def share(
    envelope: Envelope, name: str, difference: float, moves: Callable[[], Sequence[Mapping[str, float]]], step: int = 0
) -> float:
    """The share of the envelope that a difference uses. Outside the envelope, the effect of crossings is added to it.

    Args:
        envelope: The envelope of perturbed runs.
        name: Name of the value.
        difference: Largest difference from the exact value.
        moves: Returns the result of ``reach``; called only outside the envelope, because it takes further runs.
        step: The step after which the value is compared.
    """
    admitted = envelope.factor * envelope.size[name]
    used = difference / admitted
    if not 1 < used < np.inf or not (found := moves()):
        return used
    return difference / (admitted + found[step].get(name, 0.0))


def _together(starts: Sequence[Start], observers: Sequence[Observer], steps: int) -> Iterator[tuple[Values, ...]]:
    """Advances several runs together and yields the values of all of them after each step."""
    with ExitStack() as stack:
        runs = [
            stack.enter_context(closing(start(seen)))  # type: ignore[type-var]
            for start, seen in zip(starts, observers, strict=True)
        ]
        for number in range(steps):
            values = []
            for run, observer in zip(runs, observers, strict=True):
                observer.step(number)
                values += list(islice(run, 1))
            if len(values) < len(runs):
                return
            yield tuple(values)


def _crossings(exact: Start, noisy: Sequence[Start], steps: int) -> list[Crossing]:
    found: list[Crossing] = []
    seen = [_Operands() for _ in range(1 + len(noisy))]
    for number, _ in enumerate(_together([exact, *noisy], seen, steps)):
        for position, (right, *others) in enumerate(zip(*(item.seen for item in seen), strict=True)):
            found += _near(right, [other.inputs[0] for other in others], number, position)
    return found


def _near(right: _Operand, others: Sequence[Array], step: int, position: int) -> list[Crossing]:
    """The crossings in one call, one image each; both directions are tried.

    Args:
        right: The call in the exact run.
        others: The first input of the same call in each noisy run.
        step: Number of the step.
        position: Number of the call.
    """
    x = np.asarray(right.inputs[0], np.float64)
    if x.ndim < 2 or not np.isfinite(x).all():
        return []
    channel = right.call.channel_axis(x.ndim)
    rest = tuple(axis for axis in range(x.ndim) if axis != channel)
    apart = [np.abs(other.astype(np.float64) - x) for other in others]
    size = np.min([gaps.max(rest, keepdims=True) for gaps in apart], axis=0)
    fixed = (x == 0) & ~np.any(apart, axis=0)  # of a zero that no rounding moves there is no noise
    noise = np.where(fixed, 0.0, SAFETY * np.nan_to_num(size, nan=0.0, posinf=0.0))
    if not noise.any():
        return []
    slopes = _slopes(right, x)
    found: dict[int, list[tuple[Array, Array]]] = {}
    for across in (np.where(slopes > 0, -noise, noise), np.where(slopes > 0, noise, -noise)):
        jumps = np.abs(_slopes(right, x + across) - slopes) > JUMP * np.abs(slopes).max(initial=0.0)
        elements = np.flatnonzero(jumps)
        images = elements // max(x[0].size, 1)
        for image in np.unique(images):
            own = elements[images == image]
            found.setdefault(int(image), []).append((own, across.reshape(-1)[own]))
    return [Crossing(step, position, *one) for image in sorted(found) for one in found[image]]


def _slopes(operand: _Operand, x: Array) -> Array:
    """The derivative of the sum of the outputs with respect to each element of the first input."""
    own, inputs = operand.operation, (x, *operand.inputs[1:])
    assert own.backward is not None
    result = own.forward(operand.layer, inputs, operand.weights, (), operand.call)
    ones: Any = tuple(np.ones_like(y) if y.dtype.kind == "f" else None for y in result.outputs)
    gradient = own.backward(operand.layer, result.saved, ones, operand.weights, operand.call).inputs[0]
    return np.zeros(x.shape) if gradient is None else np.asarray(gradient, np.float64)
