"""Means and variances with their errors to first order: what every normalisation's budget is made of."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import Budget
from cnnbench.numerics.rounding import Roundoff, sharp_factor

Array = NDArray[Any]
Axes = tuple[int, ...]

_SINGLE = 2.0**-24  # narrower accumulators hold a few terms only (NARROW_TERMS), which cannot drift
_SHORT = 16  # up to so many terms c(n) = min(2 sqrt(n), n) u holds any drift: it is at most n u / 2


class Statistics:
    """Means, variances and the normalised values of an input, with their errors to first order.

    dm = (c(n) + b) mean|x| + u |m|;  dv = (c(n + 2) + c(4) + b) v + dm^2 + 2 u |m| mean|x - m|: two passes, in which
    deviations sum to 0, so that dm enters squared, or Welford's updates of a mean that is rounded each time, as in
    PyTorch's layer norm (Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983);  r =
    1 / sqrt(v + eps) or 1 / (sqrt(v) + eps), dr = r(v - dv) - r + c(4) r. b is the sum's drift, of the values and of
    their squared deviations (``drift``).
    """

    def __init__(self, x: Array, axes: Axes, eps: float, u: Roundoff, *, outside: bool = False) -> None:
        self.x, self.axes, self.u = x, axes, u
        self.count = math.prod(x.shape[axis] for axis in axes)
        self.mean = self.average(x)
        self.size = self.average(np.abs(x))
        self.deviation = x - self.mean
        self.variance = self.average(np.square(self.deviation))
        self.root = np.sqrt(self.variance if outside else self.variance + eps)
        self._eps, self._outside = eps, outside
        self.inverse = self._inverse(self.variance)
        self.normal = self.deviation * self.inverse

    def _inverse(self, variance: Array) -> Array:
        """r at a variance; infinite where that is 0 and no epsilon is added."""
        with np.errstate(divide="ignore"):
            root = np.sqrt(variance) + self._eps if self._outside else np.sqrt(variance + self._eps)
            return np.asarray(1 / root)

    def average(self, values: Array) -> Array:
        """Over the axes, which stay."""
        return np.asarray(values.mean(axis=self.axes, keepdims=True))

    @cached_property
    def _drifts(self) -> tuple[Array, Array]:
        """b of the values and of their squared deviations."""
        return sum_drift(self.x, self.axes, self.u), sum_drift(np.square(self.deviation), self.axes, self.u)

    def mean_error(self, c: Any) -> Array:
        """dm."""
        relative = c(self.count, self.u.accumulated) + self._drifts[0]
        return np.asarray(relative * self.size + c(1, self.u.stored) * np.abs(self.mean))

    def variance_error(self, c: Any) -> Array:
        """dv."""
        relative = c(self.count + 2, self.u.accumulated) + c(4, self.u.stored) + self._drifts[1]
        updated = 2 * c(1, self.u.stored) * np.abs(self.mean) * self.average(np.abs(self.deviation))
        return np.asarray(relative * self.variance + self.mean_error(c) ** 2 + updated)

    def inverse_error(self, c: Any) -> Array:
        """dr: r at v - dv, which is not below 0, lies farther from r than at v + dv."""
        error = self.variance_error(c)
        largest = self._inverse(np.maximum(self.variance - error, 0.0))
        least = self._inverse(self.variance + error)
        moved = np.maximum(largest - self.inverse, self.inverse - least)
        return np.asarray(moved + c(4, self.u.stored) * self.inverse)

    def shared_errors(self) -> tuple[Array, Array]:
        """The parts of ``normal_error`` that a row has in common: r dm and, with its sign, (x - m) dr."""
        return self.inverse * self.mean_error(sharp_factor), self.deviation * self.inverse_error(sharp_factor)

    def normal_error(self, c: Any) -> Array:
        """Of (x - m) r: r (dm + few u (|x| + |m|)) + |x - m| dr; |x| + |m| admits x r - m r."""
        subtraction = c(3, self.u.stored) * (np.abs(self.x) + np.abs(self.mean))
        return np.asarray(
            self.inverse * (self.mean_error(c) + subtraction) + np.abs(self.deviation) * self.inverse_error(c)
        )


def sum_drift(terms: Array, axes: Axes, u: Roundoff) -> Array:
    """``drift`` in a policy's accumulator, but in no narrower one than float32, which holds a few terms only.

    Args:
        terms: Of many sums.
        axes: Along which they are summed.
        u: The policy's roundoffs.
    """
    return drift(terms, axes, min(2.0 ** round(math.log2(u.accumulated)), _SINGLE))


def with_drift(budget: Budget, terms: Array, axes: Axes, u: Roundoff) -> Budget:
    """A sum's budget with the drift of its terms, which the worst case holds already.

    Args:
        budget: Of the sums.
        terms: Of them.
        axes: Along which they are summed.
        u: The policy's roundoffs.
    """
    drifted = sum_drift(terms, axes, u).reshape(budget.sharp.shape) * np.abs(terms).sum(axis=axes)
    return budget._replace(sharp=np.maximum(budget.sharp, np.minimum(budget.sharp + drifted, budget.worst)))


def drift(terms: Array, axes: Axes, unit: float) -> Array:
    """How far the roundings of a sum may all lead to one side, relative to sum |t|: b.

    For example, the last digit of 100 in bfloat16 is worth 0.5, so that each 0.3 that is added to it adds 0.5. Fifty of
    them err by 10, all in one direction.

    The sharp factor takes for granted that errors average out. They do where terms spread over many digits. They do not
    where terms stand close together (flat parts of a picture), or are smaller than half of the sum's last digit (the
    many small squares beside a few outliers' are lost whole).

    A partial sum whose last digit is worth q is a multiple of q, so that adding t to it errs by exactly
    rho_q(t) = q round(t / q) - t, and n terms that are added while the digit is q err by the sum of rho_q(t). b is the
    largest of these sums over q = 2^-j ulp(sum |t|), as far down as it can matter. It is 0 where chance explains it:
    within the 2 sqrt(n) u of the sharp factor. A value that occurs k times adds at most k u / 2: the terms' own
    rounding, which this cannot know, decides on which side all of them fall.

    Args:
        terms: The terms t of many sums.
        axes: Along which they are summed.
        unit: u of the accumulator, a power of two.

    Returns:
        b of each sum, with the summed axes kept as 1.
    """
    kept = [axis for axis in range(terms.ndim) if axis not in axes]
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(terms.shape))
    rows = np.transpose(terms, (*kept, *axes)).reshape(math.prod(terms.shape[a] for a in kept), -1).astype(np.float64)
    count = rows.shape[1]
    if count <= _SHORT:
        return np.zeros(shape)
    total = np.abs(rows).sum(axis=1)
    scale = np.where(total > 0, total, 1.0)
    largest = np.exp2(np.floor(np.log2(scale))) * 2 * unit
    found = np.zeros(rows.shape[0])
    for j in range(math.ceil(math.log2(2 * math.sqrt(count)))):
        q = (largest * 2.0**-j)[:, np.newaxis]
        with np.errstate(invalid="ignore"):  # infinities of a network that has left the range of its numbers
            errors = np.rint(rows / q)
            errors *= q
            errors -= rows
        found = np.maximum(found, np.abs(errors.sum(axis=1)))
    repeats = np.array([most_repeated(row[row != 0]) for row in rows], np.float64)
    found = found / scale
    found = np.where(found > sharp_factor(count, unit), found, 0.0)
    return np.asarray(np.maximum(found, repeats * unit / 2).reshape(shape))


def most_repeated(values: Array) -> int:
    """How often the most frequent value occurs; 0 where it occurs once, or where there are no values."""
    if values.size < 2:
        return 0
    ordered = np.sort(values)
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    longest = int(np.diff(ends, prepend=-1).max(initial=0))
    return longest if longest > 1 else 0
