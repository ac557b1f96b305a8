"""Hard operands: values on which a formula that is good elsewhere loses digits, overflows or divides by zero.

For example, a batch norm gets a channel of mean 300 and deviation 1, which E[x^2] - E[x]^2 does not survive, a constant
one, one whose variance is as small as epsilon, and one of 1e12. A kind's operands are declared beside its budget, with
``hard_operands``; every budget holds on them as on ordinary ones, because it is derived from the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.budgets.base import load_family
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import limits
from cnnbench.spec.kinds import layer_kinds

Array = NDArray[Any]

# Where exponentials saturate and overflow, where activations bend, zeros of both signs, and what lies between these.
SIZES = (0.0, 0.125, 0.5, 1.0, 3.0, 4.5, 6.0, 9.0, 13.0, 20.0, 40.0, 80.0, 87.0, 104.0, 127.5, 300.0, 1e4)


@dataclass(frozen=True)
class Hardness:
    """What operands are drawn from.

    Args:
        generator: Of random values and places.
        largest: The largest finite number of the storage type. smallest: its smallest normal one.
        bits: Of its significand.
    """

    generator: np.random.Generator
    largest: float
    smallest: float
    bits: int = 24

    @staticmethod
    def of(policy: PrecisionPolicy, generator: np.random.Generator) -> Hardness:
        """For the storage type of a policy; of float64 no more is asked than of float32."""
        return Hardness(generator, *limits(policy), bits=round(-np.log2(policy.storage_roundoff)))

    def holds(self, values: Array) -> bool:
        """Whether the storage type holds each value as it is."""
        whole = np.ldexp(np.frexp(values)[0], self.bits)
        return bool((whole == np.round(whole)).all())

    @property
    def far(self) -> float:
        """A large number that may be scaled: 1e30 in float32."""
        return float(self.largest**0.78)

    @property
    def square(self) -> float:
        """A large number thousands of whose squares can be summed: 1e17 in float32."""
        return float(self.largest**0.45)

    @property
    def cube(self) -> float:
        """A large number whose cube is finite: 4e11 in float32."""
        return float(self.largest**0.3)

    @property
    def square_root(self) -> float:
        """A small number whose square is a normal one: 1e-18 in float32."""
        return 8 * float(self.smallest**0.5)

    def normal(self, shape: Sequence[int]) -> Array:
        """Normal values."""
        return np.asarray(self.generator.normal(size=tuple(shape)))

    def uniform(self, shape: Sequence[int], end: float) -> Array:
        """Uniform values from ``-end`` to ``end``."""
        return np.asarray(self.generator.uniform(-end, end, tuple(shape)))

    def every_size(self, shape: Sequence[int], *, most: float | None = None, least: float | None = None) -> Array:
        """Values of every size in random order: ``SIZES``, very large and small ones, and as many between.

        Args:
            shape: Of the result.
            most: The largest magnitude; ``far`` where None.
            least: The smallest one but zero; the storage type's where None.
        """
        most, least = most or self.far, least or self.smallest
        fixed = np.array([*SIZES, most, most / 3, least, least * 3])
        fixed = fixed[(fixed <= most) & ((fixed >= least) | (fixed == 0))]
        count = int(np.prod(shape))
        between = np.exp(self.generator.uniform(np.log(2.0**-9), np.log(min(128.0, most)), count))
        signs = np.where(self.generator.random(count) < 0.5, -1.0, 1.0)
        values = np.where(np.arange(count) % 2 == 0, np.resize(np.repeat(fixed, 2), count), between) * signs
        return np.asarray(self.generator.permutation(values).reshape(shape))

    def rows(self, shape: Sequence[int], axes: Sequence[int], patterns: Sequence[Callable[[Any], Array]]) -> Array:
        """Each row along ``axes`` after one of the patterns, by turns.

        Args:
            shape: Of the result.
            axes: Along which one row lies.
            patterns: Functions (shape of rows) -> values; rows lie along the last axis.
        """
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        order = (*kept, *axes)
        count, size = (int(np.prod([shape[axis] for axis in some])) for some in (kept, axes))
        rows = np.empty((count, size))
        for i, pattern in enumerate(patterns):
            chosen = rows[i :: len(patterns)]
            chosen[...] = pattern(chosen.shape)
        moved = rows.reshape([shape[axis] for axis in order])
        return np.asarray(np.transpose(moved, np.argsort(order)))


Rule = Callable[[LayerCall, Hardness], LayerCall]
_RULES: dict[str, Rule] = {}
_REASONS: dict[str, str] = {}
_WHOLE: set[str] = set()
_R = TypeVar("_R", bound=Rule)


def hard_operands(*kinds: str, whole: bool = False) -> Callable[[_R], _R]:
    """A decorator for the function (ordinary call, hardness) -> call on hard operands of these kinds.

    Args:
        kinds: Of layers.
        whole: Whether it draws every operand, also integers and rows that join images with something else.
    """

    def decorate(function: _R) -> _R:
        _RULES.update(dict.fromkeys(kinds, function))
        _WHOLE.update(kinds if whole else ())
        return function

    return decorate


def no_hard_operands(*kinds: str, because: str) -> None:
    """Says why none are declared of these kinds."""
    _REASONS.update(dict.fromkeys(kinds, because))


def hard_rule(kind: str) -> Rule | None:
    """The rule of a kind; None where ordinary operands are all that there is.

    A kind that only moves values gets some of every size unless it has a rule.
    """
    load_family(kind)
    layer = layer_kinds().get(kind)
    return _RULES.get(kind, of_every_size if layer is not None and layer.moves and kind not in _REASONS else None)


def draws_all(kind: str) -> bool:
    """Whether a kind's rule draws every operand, whatever its first axis and its type are."""
    return kind in _WHOLE


def reason_for_none(kind: str) -> str | None:
    """Why a kind has no hard operands, where that is declared."""
    load_family(kind)
    return _REASONS.get(kind)


def of_every_size(call: LayerCall, hard: Hardness) -> LayerCall:
    """Each operand of floats with values of every size: of kinds that take each value on its own, or move it."""
    return replace(call, inputs=_floats(call, hard.every_size))


def of_every_square(call: LayerCall, hard: Hardness) -> LayerCall:
    """As ``of_every_size``, of values whose products of two are finite and normal."""

    def draw(shape: Sequence[int]) -> Array:
        return hard.every_size(shape, most=hard.square, least=hard.square_root)

    return replace(call, inputs=_floats(call, draw))


def of_every_cube(call: LayerCall, hard: Hardness) -> LayerCall:
    """As ``of_every_size``, of values whose cubes are finite: of polynomials inside an activation and its slope."""
    return replace(call, inputs=_floats(call, lambda shape: hard.every_size(shape, most=hard.cube)))


def of_moderate_size(call: LayerCall, hard: Hardness) -> LayerCall:
    """Up to 13 in size: of kinds whose result grows as a power of their operands."""

    def draw(shape: Sequence[int]) -> Array:
        return hard.every_size(shape, most=13.0, least=2.0**-9)

    return replace(call, inputs=_floats(call, draw))


def scaled(call: LayerCall, hard: Hardness) -> LayerCall:
    """Images by turns around 300, very large and very small: of kinds whose result is a weighted sum of one operand."""
    x = call.inputs[0]
    scales = np.resize([1.0, hard.square, hard.square_root], x.shape[0]).reshape(-1, *(1,) * (x.ndim - 1))
    shifts = np.where(scales == 1, min(300.0, hard.square), 0.0)
    return replace(call, inputs=(hard.normal(x.shape) * scales + shifts, *call.inputs[1:]))


def _floats(call: LayerCall, draw: Callable[[Sequence[int]], Array]) -> tuple[Array, ...]:
    return tuple(draw(x.shape) if x.dtype.kind == "f" else x for x in call.inputs)


def standard_rows(
    hard: Hardness, shape: Sequence[int], axes: Sequence[int], eps: float, *, constant: bool = True
) -> Array:
    """Rows that are hard to standardise.

    Means far from 0 beside the deviation, no deviation, a variance as small as epsilon, very large and small values,
    one value far from all others, and ordinary ones.

    Args:
        hard: What is drawn from.
        shape: Of the result.
        axes: Along which mean and variance are taken.
        eps: Beside the variance.
        constant: Whether some rows have no deviation: the gradient of sqrt(v) + eps is not continuous there.
    """
    small = np.sqrt(max(eps, hard.smallest**0.5))
    mean = min(300.0, hard.square)

    def lonely(rows: Any) -> Array:
        values = 1e-3 * hard.normal(rows)
        values[..., 0] = mean
        return values

    return hard.rows(
        shape,
        axes,
        (
            lambda rows: mean + hard.normal(rows),
            lambda rows: np.full(rows, 0.1) if constant else hard.normal(rows),
            lambda rows: small * hard.normal(rows),
            lambda rows: hard.cube * hard.normal(rows),
            lonely,
            lambda rows: -mean + 0.1 * hard.normal(rows),
            lambda rows: hard.normal(rows),
        ),
    )
