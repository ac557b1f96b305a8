"""Crossings: values so near to a kink that rounding decides on which side they lie, and how far each moves a training.

For example, a ReLU gets 3e-9 in float64, and its channel errs by 2e-8 in float32. A backend may get -5e-9, which is as
right, and from there on the gradient of one image lacks a term. Perturbed runs show this only where one of them
happens to cross there, too. So the exact run is repeated with that value moved across.
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
SEPARATE = 4  # runs with values moved across: so many crossings are added up one by one, more of them in so many parts
JUMP = 1e-3  # the share of the largest slope by which a slope changes at a kink; rounding changes it by far less


class _Operand(NamedTuple):
    """What a layer with kinks was called with."""

    operation: Operation
    layer: Any
    inputs: Arrays
    weights: Arrays
    call: Call


class Observer(Protocol):
    """Sees the operand of every layer with kinks, step by step, and may move it."""

    def step(self, number: int) -> None:
        """Another step begins."""
        ...

    def see(self, operand: _Operand) -> Array:
        """The first input that the layer is to get."""
        ...


Start = Callable[[Observer], Iterator[Values]]
"""Starts a run of the reference whose backend is ``observed``: the values after each step, as they are asked for."""


class Crossing(NamedTuple):
    """The elements of one image that lie within their noise of kinks of one call.

    Args:
        step: From 0.
        position: Of the call, among all of the step with kinks.
        elements: Places in the flat operand.
        across: What moves them to the other side, and what they are moved with.
    """

    step: int
    position: int
    elements: Array
    across: Array


@contextmanager
def observed(backend: Backend, observer: Observer) -> Iterator[None]:
    """What the backend compiles meanwhile shows an observer its kinks.

    Args:
        backend: An instance of its own.
        observer: That sees them.
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
    """Keeps the operands of a step."""

    seen: list[_Operand] = field(default_factory=list)

    def step(self, number: int) -> None:
        self.seen.clear()

    def see(self, operand: _Operand) -> Array:
        self.seen.append(operand)
        return operand.inputs[0]


@dataclass
class _Across:
    """Moves the elements of some crossings."""

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
    """How far crossings move each value after each step; () where no element lies within its noise of a kink.

    An element's noise is ``SAFETY`` times the largest error in its channel, in that run in the policy's arithmetic in
    which it is smallest: another one may have crossed a kink, and be off by what this moved. Up to ``SEPARATE``
    crossings have a run each, and what they move is added up. More of them share so many runs: their moves have either
    sign, and perturbed runs cross at many, too.

    Args:
        exact: In float64.
        noisy: The same with the roundings of the policy.
        right: What ``exact`` gives after each step.
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
    """The share of the envelope that a difference uses; where it lies outside, of the envelope with crossings.

    Args:
        envelope: Of perturbed runs.
        name: Of the value.
        difference: From the exact one.
        moves: As ``reach`` has them; asked only where it matters, because it takes runs of its own.
        step: After which the value is compared.
    """
    admitted = envelope.factor * envelope.size[name]
    used = difference / admitted
    if not 1 < used < np.inf or not (found := moves()):
        return used
    return difference / (admitted + found[step].get(name, 0.0))


def _together(starts: Sequence[Start], observers: Sequence[Observer], steps: int) -> Iterator[tuple[Values, ...]]:
    """The values of runs side by side, step by step."""
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
    """The crossings of one call, each of one image."""
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
    """The gradient of the outputs' sum with respect to the first input."""
    own, inputs = operand.operation, (x, *operand.inputs[1:])
    assert own.backward is not None
    result = own.forward(operand.layer, inputs, operand.weights, (), operand.call)
    ones: Any = tuple(np.ones_like(y) if y.dtype.kind == "f" else None for y in result.outputs)
    gradient = own.backward(operand.layer, result.saved, ones, operand.weights, operand.call).inputs[0]
    return np.zeros(x.shape) if gradient is None else np.asarray(gradient, np.float64)
