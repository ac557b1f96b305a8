"""What the checks of several backends ask alike and no cache holds: kept of the latest network, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

import numpy as np

from cnnbench.numerics.case import Case

T = TypeVar("T")

MOST_BYTES = 512 * 2**20


class CommonAnswers:
    """Answers by what they are made from.

    For example, the exact check multiplies every layer's integers by the float64 reference, which takes longer than
    PyTorch's half of the check. The integers are the same for every backend, so the next one finds them here. What a
    full store has no room for is made again by each. Answers are held within ``kept`` only.

    Args:
        most_bytes: That are held. Answers on other cases make room first.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._held: dict[tuple[str, Hashable], tuple[Any, int]] = {}
        self._users = 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within this context answers are held for the next backend; at its end they are let go."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._held.clear()

    def get(self, case: Case, question: Hashable, make: Callable[[], T]) -> T:
        """The answer to a question on a case, made where it is not held. A subject must be handed copies of its arrays.

        Args:
            case: Its graph, arrays, inputs, precision and seed decide, with the code that answers.
            question: What else decides.
            make: Makes the answer.
        """
        if not self._users:
            return make()
        key = (case.key("common answers"), question)
        if key not in self._held:
            made = make()
            size = num_bytes(made)
            if self._bytes + size > self._most_bytes:
                self._held = {other: item for other, item in self._held.items() if other[0] == key[0]}
            if self._bytes + size > self._most_bytes:
                return made
            self._held[key] = (made, size)
        return cast(T, self._held[key][0])

    @property
    def _bytes(self) -> int:
        return sum(size for _, size in self._held.values())


def num_bytes(value: object) -> int:
    """The bytes of all arrays in dictionaries, tuples, lists and dataclasses; each as often as it stands there."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(num_bytes, value.values()))
    if isinstance(value, tuple | list):
        return sum(map(num_bytes, value))
    if is_dataclass(value) and not isinstance(value, type):
        return sum(num_bytes(getattr(value, item.name)) for item in fields(value))
    return 0


COMMON = CommonAnswers()
"""Of this process."""
