"""The table of a backend's optimisers by kind, and what clips their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cnnbench.errors import UnavailableError
from cnnbench.execution.loading import BoundGraph, HeldWeight
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.optimizers import Optimizer

_F = TypeVar("_F", bound=Callable[..., Any])


class OptimizerRules:
    """What a backend runs for each kind of optimiser; the backend decides what such a function takes.

    >>> rules = OptimizerRules("example")
    >>> @rules.register("sgd")
    ... def sgd(optimizer, weight, gradient, slots, rate, decays):
    ...     return weight - rate * gradient, {}
    """

    def __init__(self, backend: str, *, clips: bool = False, accumulates: bool = False) -> None:
        """Names the backend.

        Args:
            backend: Its name.
            clips: Whether it clips gradients where the optimiser says so.
            accumulates: Whether it averages those of micro-batches where the optimiser says so.
        """
        self.backend, self._clips, self._accumulates = backend, clips, accumulates
        self._table: dict[str, Callable[..., Any]] = {}

    def register(self, kind: str) -> Callable[[_F], _F]:
        """A decorator that makes a function the rule of ``kind``."""

        def decorate(function: _F) -> _F:
            self._table[kind] = function
            return function

        return decorate

    def rule(self, optimizer: Optimizer) -> Callable[..., Any]:
        """The function of an optimiser's kind. Raises UnavailableError where the backend lacks it or more."""
        if optimizer.clipping is not None and not self._clips:
            raise UnavailableError(f"backend {self.backend!r} does not clip gradients")
        if optimizer.accumulate > 1 and not self._accumulates:
            raise UnavailableError(f"backend {self.backend!r} does not accumulate gradients")
        try:
            return self._table[optimizer.kind]
        except KeyError:
            raise UnavailableError(
                f"backend {self.backend!r} does not implement the optimizer {optimizer.kind!r}",
                expected=" or ".join(sorted(self._table)),
            ) from None


def clipped_units(bound: BoundGraph, clipping: Clipping) -> tuple[tuple[int, ...] | None, ...]:
    """For each trained weight the axes of its native form that lie within one unit; None where it is not clipped.

    Args:
        bound: The graph, bound.
        clipping: What is done with its gradients.

    Raises:
        UnavailableError: The backend holds a weight in a form in which units are no boxes.
    """
    held = [bound.weights[position] for position in bound.trainable]
    return tuple(_unit_axes(one) if clipping.clips(one.spec.name) else None for one in held)


def _unit_axes(held: HeldWeight) -> tuple[int, ...]:
    """The axes along which the index of the canonical form's first axis stays the same; all of a vector's."""
    import numpy as np

    shape = held.spec.shape
    if len(shape) < 2:
        return tuple(range(len(shape)))
    index = np.arange(shape[0], dtype=np.float64).reshape(-1, *[1] * (len(shape) - 1))
    native = np.asarray(held.to_native(np.array(np.broadcast_to(index, shape))))
    axes = tuple(axis for axis in range(native.ndim) if (native == native.take([0], axis)).all())
    if native.size and native.max(axis=axes).size != shape[0]:
        raise UnavailableError(f"units of {held.spec.name} cannot be told apart as this backend holds it")
    return axes
