"""Sizes that depend on the batch, as shape arithmetic carries them: each as what it is for several batch sizes.

The size of the batch is open while a model is read. Shapes, and numbers computed from shapes, are therefore worked out
for every size in ``BATCHES``. What agrees for all of them does not depend on the batch. What is one, two and three
times a number for one, two and three images, and as many times for a large prime, is a multiple of the batch; any
other dependence differs from that at one of the four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cnnbench.errors import SpecError
from cnnbench.spec.fields import checked
from cnnbench.spec.layers import Layer, Shapes

if TYPE_CHECKING:
    _Number = int  # so that shapes stay tuples of integers to the type checker
else:
    _Number = object

BATCHES = (1, 2, 3, 1009)
_REMEDY = "export the model with its batch fixed, or so that no shape holds a fixed batch size"


class BatchSize(_Number):
    """A size that depends on the batch. It adds, multiplies and compares as an integer, for each of ``BATCHES``.

    Used where a plain integer is needed (a range, an array's shape), or in a quotient or with a fraction (a scale), it
    raises SpecError.

    Args:
        values: What it is for each of ``BATCHES``; not all equal.
    """

    values: tuple[int, ...]

    def __new__(cls, values: Sequence[int]) -> BatchSize:
        made = object.__new__(cls)
        made.values = tuple(values)
        return made

    def __add__(self, other: int) -> int:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: int) -> int:
        return self._with(other, lambda a, b: a - b)

    def __mul__(self, other: int) -> int:
        return self._with(other, lambda a, b: a * b)

    def __floordiv__(self, other: int) -> int:
        return self._with(other, lambda a, b: a // b)

    def __mod__(self, other: int) -> int:
        return self._with(other, lambda a, b: a % b)

    def __radd__(self, other: int) -> int:
        return self._with(other, lambda a, b: b + a)

    def __rsub__(self, other: int) -> int:
        return self._with(other, lambda a, b: b - a)

    def __rmul__(self, other: int) -> int:
        return self._with(other, lambda a, b: b * a)

    def __rfloordiv__(self, other: int) -> int:
        return self._with(other, lambda a, b: b // a)

    def __truediv__(self, other: float) -> float:
        return float(self)

    __rtruediv__ = __truediv__

    def __neg__(self) -> int:
        return size_of([-value for value in self.values])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BatchSize) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)

    def __lt__(self, other: int) -> bool:
        return self._compared(other, lambda a, b: a < b)

    def __le__(self, other: int) -> bool:
        return self._compared(other, lambda a, b: a <= b)

    def __gt__(self, other: int) -> bool:
        return self._compared(other, lambda a, b: a > b)

    def __ge__(self, other: int) -> bool:
        return self._compared(other, lambda a, b: a >= b)

    def __bool__(self) -> bool:
        return self._compared(0, lambda a, b: a != b)

    def __int__(self) -> int:
        raise SpecError(
            "a number that must be fixed depends on the batch size",
            received=str(self),
            remedy="export the model with its batch fixed; it is then read as a network of that batch",
        )

    __index__ = __float__ = __int__

    def __repr__(self) -> str:
        """As a multiple of N, the batch size, where it is one and a constant more; else its values."""
        multiple = self.values[1] - self.values[0]
        rest = self.values[0] - multiple
        if any(multiple * n + rest != value for n, value in zip(BATCHES, self.values, strict=True)):
            return " / ".join(f"{value} at N={n}" for n, value in zip(BATCHES, self.values, strict=True))
        text = {1: "N", -1: "-N"}.get(multiple, f"{multiple}*N")
        return text if rest == 0 else f"{text}{rest:+d}"

    def _with(self, other: int, function: Callable[[int, int], int]) -> int:
        if isinstance(other, float):
            return int(self)
        if not isinstance(other, int | BatchSize):
            return NotImplemented
        return size_of([function(a, b) for a, b in zip(self.values, sizes_in(other), strict=True)])

    def _compared(self, other: int, function: Callable[[int, int], bool]) -> bool:
        answers = {function(a, b) for a, b in zip(self.values, sizes_in(other), strict=True)}
        if len(answers) > 1:
            raise SpecError("the network's form depends on the batch size", received=f"{self} beside {other}")
        return answers.pop()


def size_of(values: Sequence[int]) -> int:
    """One size from its value for each of ``BATCHES``: an integer where they agree."""
    return values[0] if all(value == values[0] for value in values) else BatchSize(values)


def sizes_in(size: int) -> tuple[int, ...]:
    """A size for each of ``BATCHES``."""
    return size.values if isinstance(size, BatchSize) else (size,) * len(BATCHES)


def is_open(size: int) -> bool:
    """Whether a size depends on the batch."""
    return isinstance(size, BatchSize)


def multiple_of_batch(size: int) -> int | None:
    """c where a size is c times the batch; None where it is anything else."""
    if not isinstance(size, BatchSize):
        return None
    multiple = size.values[0]
    return multiple if all(multiple * n == value for n, value in zip(BATCHES, size.values, strict=True)) else None


def shape_of(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """One shape from that for each of ``BATCHES``. Raises SpecError where their ranks differ."""
    if len({len(shape) for shape in shapes}) > 1:
        raise SpecError("the rank of a value depends on the batch size", received=list(shapes))
    return tuple(size_of(sizes) for sizes in zip(*shapes, strict=True))


def shapes_in(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """A shape for each of ``BATCHES``."""
    return [tuple(sizes_in(size)[i] for size in shape) for i in range(len(BATCHES))]


NUM = BatchSize(BATCHES)


def open_shapes_of(layer: Layer, shapes: Shapes) -> Shapes | None:
    """The shapes of a layer's outputs where those of its inputs depend on the batch; None where they do not.

    Raises:
        SpecError: The layer cannot take every batch size.
    """
    if not any(is_open(size) for shape in shapes for size in shape):
        return None
    inputs = list(zip(*(shapes_in(shape) for shape in shapes), strict=True))
    resolved, outputs = [], []
    for batch, sizes in zip(BATCHES, inputs, strict=True):
        try:
            resolved.append(checked(layer).resolve(sizes))
            outputs.append(resolved[-1].output_shapes(sizes))
        except SpecError as error:
            raise SpecError(
                f"it cannot be computed for a batch of {batch}: {error.message}",
                received=error.received,
                expected=error.expected,
                remedy=_REMEDY,
            ) from None
    weights = {tuple(spec.shape for spec in item.weights(s)) for item, s in zip(resolved, inputs, strict=True)}
    if len(set(resolved)) > 1 or len(weights) > 1:
        raise SpecError("the layer would differ with the batch size", received=shapes, remedy=_REMEDY)
    return tuple(shape_of(found) for found in zip(*outputs, strict=True))
