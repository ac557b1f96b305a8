"""L-BFGS on the host, over the value and the gradient that any backend computes of a deterministic loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.spec.weights import check_fits, split_state

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, ProgramOptions
    from cnnbench.execution.host import HostArrays
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss

Array = NDArray[Any]
Evaluate = Callable[[Array], tuple[float, Array]]
"""A point (K,) -> the value there, and its gradient (K,)."""


@dataclass(frozen=True, kw_only=True)
class LBFGS:
    """The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno.

    x <- x + t d with d = -H g. H is made of the last pairs s = (change of x), y = (change of g) by the two-loop
    recursion, from gamma I with gamma = s^T y / y^T y of the latest pair. A pair counts where y^T s > ``curvature``.

    With ``line_search="fixed"`` t is ``rate``, and at the first step ``rate`` times min(1, 1 / sum |g|): that is
    ``torch.optim.LBFGS`` as it is by default (``lr``, ``history_size``; one iteration is one of ``max_iter``). With
    ``"strong_wolfe"`` t meets |d^T g(x + t d)| <= c2 |d^T g| and f(x + t d) <= f + c1 t d^T g with c1 = 1e-4, c2 = 0.9,
    as SciPy's ``line_search`` finds it.

    Args:
        rate: The length of a fixed step.
        history: Pairs that are kept.
        line_search: How far a step goes.
        curvature: The least y^T s of a pair.
        gradient_tolerance: It ends where no element of the gradient is larger.
        change_tolerance: It ends where neither an element of x nor the value changed by more, or d is no descent.

    Source: Nocedal, "Updating quasi-Newton matrices with limited storage" (1980); Liu, Nocedal (1989).
    """

    rate: float = 1.0
    history: int = 10
    line_search: Literal["fixed", "strong_wolfe"] = "fixed"
    curvature: float = 1e-10
    gradient_tolerance: float = 1e-7
    change_tolerance: float = 1e-9

    def __post_init__(self) -> None:
        for name, holds, expected in (
            ("rate", self.rate > 0, "a number above 0"),
            ("history", self.history >= 1, "at least 1"),
            ("line_search", self.line_search in ("fixed", "strong_wolfe"), "'fixed' or 'strong_wolfe'"),
        ):
            if not holds:
                raise SpecError(f"{name} is not valid", received=getattr(self, name), expected=expected)


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a minimisation ended.

    Args:
        point: The last point.
        values: At the start and after each iteration.
        evaluations: Of the value with its gradient.
        reason: Why it ended.
    """

    point: Array
    values: tuple[float, ...]
    evaluations: int
    reason: str


def minimize(evaluate: Evaluate, start: Array, rule: LBFGS, iterations: int) -> Descent:
    """Takes steps of L-BFGS in float64, whatever the precision of the gradients.

    Args:
        evaluate: A deterministic function.
        start: (K,), left as it is.
        rule: How steps are made.
        iterations: At most so many.

    Raises:
        SpecError: The value at the start is no number.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges ends, and says so
        return _descent(_Counted(evaluate), start, rule, iterations)


def _descent(seen: _Counted, start: Array, rule: LBFGS, iterations: int) -> Descent:
    point = np.array(start, np.float64)
    value, gradient = seen(point)
    if not np.isfinite(value):
        raise SpecError("the value at the start is not finite", received=value)
    values, pairs = [value], deque[tuple[Array, Array]](maxlen=rule.history)
    for iteration in range(iterations):
        if np.abs(gradient).max(initial=0.0) <= rule.gradient_tolerance:
            return Descent(point, tuple(values), seen.count, "the gradient is within its tolerance")
        direction = -_times_inverse_hessian(gradient, pairs)
        if not gradient @ direction <= -rule.change_tolerance:
            return Descent(point, tuple(values), seen.count, "no descent along the direction")
        length = _length(rule, seen, point, direction, first=iteration == 0)
        if length is None:
            return Descent(point, tuple(values), seen.count, "the line search found no step")
        change, before = length * direction, (value, gradient)
        point = point + change
        value, gradient = seen(point)
        values.append(value)
        if not np.isfinite(value):
            return Descent(point, tuple(values), seen.count, "the value is not finite")
        moved = gradient - before[1]
        if moved @ change > rule.curvature:
            pairs.append((change, moved))
        if np.abs(change).max() <= rule.change_tolerance or abs(value - before[0]) < rule.change_tolerance:
            return Descent(point, tuple(values), seen.count, "nothing changes any more")
    return Descent(point, tuple(values), seen.count, "all iterations are taken")


class _Counted:
    """A function that counts, and computes the latest point once."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate, self.count = evaluate, 0
        self._latest: tuple[Array, float, Array] | None = None

    def __call__(self, point: Array) -> tuple[float, Array]:
        if self._latest is None or not np.array_equal(self._latest[0], point):
            value, gradient = self._evaluate(point)
            self.count += 1
            self._latest = (point.copy(), float(value), np.asarray(gradient, np.float64).ravel())
        return self._latest[1], self._latest[2]


def _times_inverse_hessian(gradient: Array, pairs: deque[tuple[Array, Array]]) -> Array:
    """The two-loop recursion (Nocedal, Wright, "Numerical optimization", algorithm 7.4)."""
    found, shares = gradient.copy(), []
    for change, moved in reversed(pairs):
        shares.append(change @ found / (moved @ change))
        found -= shares[-1] * moved
    if pairs:
        change, moved = pairs[-1]
        found *= (moved @ change) / (moved @ moved)
    for (change, moved), share in zip(pairs, reversed(shares), strict=True):
        found += (share - moved @ found / (moved @ change)) * change
    return found


def _length(rule: LBFGS, seen: _Counted, point: Array, direction: Array, *, first: bool) -> float | None:
    if rule.line_search == "fixed":
        size = float(np.abs(seen(point)[1]).sum())
        return rule.rate * (min(1.0, 1.0 / size) if first else 1.0)
    from scipy.optimize import line_search

    value, gradient = seen(point)
    found = line_search(
        lambda at: seen(at)[0], lambda at: seen(at)[1], point, direction, gfk=gradient, old_fval=value, c1=1e-4, c2=0.9
    )[0]
    return None if found is None else float(found)


@dataclass(frozen=True, eq=False)
class BatchLoss:
    """The loss of a network on one batch, of its trained weights as one vector in the order of their names.

    Args:
        backend: Who computes.
        graph: The network.
        loss: Of its main output.
        options: How the program runs; a training pass, so that batch norms take the batch's statistics.
        batch: Inputs, masks and targets.
        arrays: Weights and running statistics.
    """

    backend: Backend
    graph: Graph
    loss: Loss
    options: ProgramOptions
    batch: HostArrays
    arrays: HostArrays

    def __post_init__(self) -> None:
        check_fits(self.graph, self.arrays, where=self.graph.name)
        options = replace(self.options, training=True, fold_batch_norm=False)
        object.__setattr__(self, "_program", self.backend.compile_gradient(self.graph, options, self.loss))

    @property
    def start(self) -> Array:
        """The trained weights as they are given."""
        return np.concatenate([np.asarray(self.arrays[name], np.float64).ravel() for name in self._names])

    @property
    def _names(self) -> list[str]:
        return sorted(spec.name for spec in self.graph.named_weights() if spec.trainable)

    def arrays_at(self, point: Array) -> dict[str, Array]:
        """All arrays, the trained weights being those of a point."""
        found, place = dict(self.arrays), 0
        for name in self._names:
            shape = np.shape(self.arrays[name])
            size = int(np.prod(shape))
            found[name] = point[place : place + size].reshape(shape)
            place += size
        return found

    def __call__(self, point: Array) -> tuple[float, Array]:
        """The loss and its gradient there."""
        program: Any = self._program  # type: ignore[attr-defined]
        program.load(*split_state(self.graph, self.arrays_at(point)))
        found = program.download(program.run(program.upload(self.batch)))
        return found.loss, np.concatenate([np.asarray(found.weights[name]).ravel() for name in self._names])
