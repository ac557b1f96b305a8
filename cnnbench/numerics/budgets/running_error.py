"""Running error analysis: values that carry a bound of their error through a computation.

Where a layer is a long chain of steps (a recurrence), a closed formula would only repeat the chain; here the chain is
run once with each value beside its bound (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.3).
Errors may be as large as the values that they belong to, as those of a gate's argument of 300 in bfloat16 are: products
of errors count, and a function's error is how far it moves within its argument's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.activation import FUNCTION, logistic
from cnnbench.numerics.rounding import Roundoff

Array = NDArray[Any]
Factor = Callable[[float, float], float]


@dataclass(frozen=True)
class Tracked:
    """A value and a bound of |error|, of one shape."""

    value: Array
    error: Array

    def __getitem__(self, key: Any) -> Tracked:
        return Tracked(self.value[key], self.error[key])

    @property
    def transposed(self) -> Tracked:
        """Both transposed."""
        return Tracked(self.value.T, self.error.T)


def exactly(value: Array) -> Tracked:
    """A value without error: an operand as it is stored."""
    return Tracked(value, np.zeros(value.shape))


@dataclass(frozen=True)
class Arithmetic:
    """Rounded operations on tracked values.

    Args:
        u: The policy's roundoffs.
        factor: c(n, u), the sharp or the worst one.
    """

    u: Roundoff
    factor: Factor

    def rounded(self, value: Array, error: Array, count: float = 2) -> Tracked:
        """A value with its error so far and that of some roundings.

        Args:
            value: What it is.
            error: The bound so far.
            count: How many roundings of it are admitted.
        """
        own = self.factor(count, self.u.stored) * (np.abs(value) + error)
        return Tracked(value, error + own + self.u.smallest)

    def add(self, *terms: Tracked) -> Tracked:
        """The sum, from left to right."""
        total = terms[0]
        for term in terms[1:]:
            total = self.rounded(total.value + term.value, total.error + term.error)
        return total

    def minus(self, a: Tracked, b: Tracked) -> Tracked:
        """a - b."""
        return self.rounded(a.value - b.value, a.error + b.error)

    def times(self, a: Tracked, b: Tracked) -> Tracked:
        """a b, element by element."""
        return self.rounded(a.value * b.value, (np.abs(a.value) + a.error) * b.error + np.abs(b.value) * a.error)

    def complement(self, a: Tracked) -> Tracked:
        """1 - a."""
        return self.rounded(1 - a.value, a.error)

    def product(self, a: Tracked, b: Tracked) -> Tracked:
        """The matrix product, K = the length of a's rows; operands may be rounded before they are multiplied."""
        size, largest = np.abs(a.value) @ np.abs(b.value), np.abs(a.value) + a.error
        carried = a.error @ np.abs(b.value) + largest @ b.error
        own = self.factor(a.value.shape[-1], self.u.accumulated) + self.u.operand
        return self.rounded(a.value @ b.value, carried + own * (size + carried), 1)

    def column_sums(self, a: Tracked) -> Tracked:
        """The sum over the first axis."""
        own = self.factor(a.value.shape[0], self.u.accumulated) * np.abs(a.value).sum(axis=0)
        return self.rounded(a.value.sum(axis=0), a.error.sum(axis=0) + own, 1)

    def sigmoid(self, a: Tracked) -> Tracked:
        """1 / (1 + exp(-a))."""
        return self.rounded(logistic(a.value), moved(logistic, a), FUNCTION + 2)

    def tanh(self, a: Tracked) -> Tracked:
        """tanh(a)."""
        return self.rounded(np.tanh(a.value), moved(np.tanh, a), FUNCTION + 2)


def moved(function: Callable[[Array], Array], x: Tracked) -> Array:
    """How far a monotone function moves at most while its argument stays within its error.

    Args:
        function: Element by element.
        x: Its argument.
    """
    value = function(x.value)
    found = [np.abs(function(x.value + sign * x.error) - value) for sign in (-1, 1)]
    return np.asarray(np.maximum(*found))


def joined(*parts: Tracked, axis: int) -> Tracked:
    """Side by side."""
    return Tracked(
        np.concatenate([part.value for part in parts], axis=axis),
        np.concatenate([part.error for part in parts], axis=axis),
    )


def cut(whole: Tracked, count: int) -> tuple[Tracked, ...]:
    """Equal parts of the columns."""
    values, errors = np.split(whole.value, count, axis=1), np.split(whole.error, count, axis=1)
    return tuple(Tracked(v, e) for v, e in zip(values, errors, strict=True))
