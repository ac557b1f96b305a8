"""Random choices for one network, from a random stream of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

_T = TypeVar("_T")


class Choices:
    """Draws integers, truths and items from a generator.

    Args:
        generator: Of ``spec.streams.stream``: the same decisions on every machine.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def integer(self, least: int, most: int) -> int:
        """One of ``least`` ... ``most``, both included."""
        return int(self._generator.integers(least, most + 1))

    def number(self, least: float, most: float) -> float:
        """A number between two, of three significant digits, so that it is written the same everywhere."""
        return float(f"{self._generator.uniform(least, most):.3g}")

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self._generator.random() < probability)

    def one(self, items: Sequence[_T]) -> _T:
        """One of the items, each as likely."""
        return items[self.integer(0, len(items) - 1)]

    def shuffled(self, items: Iterable[_T]) -> list[_T]:
        """The items in a random order."""
        given = list(items)
        return [given[int(i)] for i in self._generator.permutation(len(given))]
