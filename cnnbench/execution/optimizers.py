"""The table of a backend's optimisers by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cnnbench.errors import UnavailableError
from cnnbench.spec.optimizers import Optimizer

_F = TypeVar("_F", bound=Callable[..., Any])


class OptimizerRules:
    """What a backend runs for each kind of optimiser; the backend decides what such a function takes.

    >>> rules = OptimizerRules("example")
    >>> @rules.register("sgd")
    ... def sgd(optimizer, weight, gradient, slots, rate, decays):
    ...     return weight - rate * gradient, {}
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._table: dict[str, Callable[..., Any]] = {}

    def register(self, kind: str) -> Callable[[_F], _F]:
        """A decorator that makes a function the rule of ``kind``."""

        def decorate(function: _F) -> _F:
            self._table[kind] = function
            return function

        return decorate

    def rule(self, optimizer: Optimizer) -> Callable[..., Any]:
        """The function of an optimiser's kind. Raises UnavailableError where the backend has none."""
        try:
            return self._table[optimizer.kind]
        except KeyError:
            raise UnavailableError(
                f"backend {self.backend!r} does not implement the optimizer {optimizer.kind!r}",
                expected=" or ".join(sorted(self._table)),
            ) from None
