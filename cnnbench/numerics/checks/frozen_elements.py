"""Elements of weights that no training step moves although the reference moves them far beyond a rounding."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A right step may leave an element alone where its error happens to undo the move to within one roundoff. With errors
# of the size of the move that has a probability of about 0.24 / ROUNDOFFS, and it must happen at each step.
ROUNDOFFS = 256
LEAST = 3  # steps that must leave the element alone


class _Still(NamedTuple):
    """Of one array the flat positions that have not moved, and their values."""

    places: Array
    values: Array


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
    _still: dict[str, _Still] = field(default_factory=dict)
    _before: Mapping[str, Array] = field(default_factory=dict)
    _steps: int = 0

    def see(self, got: Mapping[str, Array], exact: Mapping[str, Array], open_names: Collection[str]) -> str | None:
        """Takes a step in; says which element is frozen by now, as ``name[place]``, if any is.

        Args:
            got: The subject's weights after the step.
            exact: The reference's.
            open_names: Those that can be compared; of arrays that begin as zeros only these are looked at, since their
                moves may be the reference's own rounding.
        """
        before = self._before or self.start
        for name in self.start:
            begin = np.asarray(self.start[name], np.float64).reshape(-1)
            scale = float(np.max(np.abs(begin), initial=0.0))
            if (scale == 0 and name not in open_names) or (self._steps and name not in self._still):
                self._still.pop(name, None)
                continue
            right, now = (np.asarray(values[name]).reshape(-1) for values in (exact, got))
            known = self._still.get(name) or _Still(np.arange(right.size), begin)
            limit = ROUNDOFFS * self.roundoff * (scale or float(np.max(np.abs(right), initial=0.0)))
            moves = np.abs(right[known.places] - np.asarray(before[name], np.float64).reshape(-1)[known.places]) > limit
            stays = moves & (now[known.places].astype(np.float64) == known.values)
            self._still[name] = _Still(known.places[stays], known.values[stays])
        self._before, self._steps = {name: exact[name] for name in self._still}, self._steps + 1
        frozen = next((name for name, still in self._still.items() if still.places.size), None)
        if frozen is None or self._steps < LEAST:
            return None
        place = np.unravel_index(int(self._still[frozen].places[0]), np.shape(self.start[frozen]))
        return f"{frozen}[{', '.join(map(str, place))}]"
