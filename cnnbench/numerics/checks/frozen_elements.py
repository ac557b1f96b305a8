"""Elements of weights that no training step moves although the reference moves them far beyond a rounding."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.blocks import blocks, largest_of

Array = NDArray[Any]

# A right step may leave an element alone where its error happens to undo the move to within one roundoff. With errors
# of the size of the move that has a probability of about 0.24 / ROUNDOFFS, and it must happen at each step.
ROUNDOFFS = 256
LEAST = 3  # steps that must leave the element alone


def _still(begin: Array, before: Array, right: Array, now: Array, *, limit: float, known: Array | None) -> Array:
    """The flat positions that have not moved though the reference moves them; block by block.

    Args:
        begin: The values before the first step.
        before: The reference's before this step.
        right: Its values after it.
        now: The subject's.
        limit: By how much the reference moves an element at least.
        known: The positions that had not moved before; None for all.
    """
    count = right.size if known is None else known.size
    found = []
    for block in blocks(count):
        places = np.arange(block.start, block.stop) if known is None else known[block]
        moves = np.abs(right[places] - before[places].astype(np.float64)) > limit
        found.append(places[moves & (now[places].astype(np.float64) == begin[places])])
    return np.concatenate(found) if found else np.arange(0)


@dataclass
class FrozenElements:
    """Follows the elements that stay bit for bit what they were from step to step.

    An element is frozen if it stays at each of the first steps, three at least, and the reference moves it at each by
    more than ``ROUNDOFFS`` roundoffs of the largest value that its array began with. That holds for arrays whose
    envelope is too wide to compare them, too: rounding moves an element elsewhere and seldom not at all.

    Args:
        roundoff: Of a stored value.
        start: The trained weights before the first step, by name.
    """

    roundoff: float
    start: Mapping[str, Array]
    _still: dict[str, Array] = field(default_factory=dict)
    _before: Mapping[str, Array] = field(default_factory=dict)
    _steps: int = 0

    def see(
        self, got: Mapping[str, Array], exact: Mapping[str, Array], open_names: Collection[str]
    ) -> tuple[str, tuple[int, ...]] | None:
        """Takes a step in; says which element is frozen by now, as (array's name, place), if any is.

        Args:
            got: The subject's weights after the step.
            exact: The reference's.
            open_names: Those that can be compared; of arrays that begin as zeros only these are looked at, since their
                moves may be the reference's own rounding.
        """
        before = self._before or self.start
        for name in self.start:
            scale = largest_of(self.start[name])
            if (scale == 0 and name not in open_names) or (self._steps and name not in self._still):
                self._still.pop(name, None)
                continue
            limit = ROUNDOFFS * self.roundoff * (scale or largest_of(exact[name]))
            values = (
                np.asarray(array).reshape(-1) for array in (self.start[name], before[name], exact[name], got[name])
            )
            self._still[name] = _still(*values, limit=limit, known=self._still.get(name))
        self._before, self._steps = {name: exact[name] for name in self._still}, self._steps + 1
        frozen = next((name for name, still in self._still.items() if still.size), None)
        if frozen is None or self._steps < LEAST:
            return None
        place = np.unravel_index(int(self._still[frozen][0]), np.shape(self.start[frozen]))
        return frozen, tuple(map(int, place))
