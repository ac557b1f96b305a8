"""L-BFGS: (optimizer, weights, gradients, slots, rate) -> (weights, slots), all weights together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.quasi_newton import CURVATURE, LimitedMemoryBFGS
from cnnbench_numpy.optimizers import OPTIMIZERS

Array = NDArray[Any]
Arrays = Sequence[Array]


@OPTIMIZERS.register("lbfgs")
def lbfgs(
    optimizer: LimitedMemoryBFGS, weights: Arrays, gradients: Arrays, slots: Mapping[str, Arrays], rate: float
) -> tuple[list[Array], dict[str, list[Array]]]:
    """The two-loop recursion as the specification has it; products of vectors are float64 numbers.

    Args:
        optimizer: The rule's own fields.
        weights: All that are trained.
        gradients: One a weight.
        slots: By the specification's names, one array a weight.
        rate: The learning rate.
    """
    step, count = (int(slots[name][0]) if weights else 0 for name in ("step", "pairs"))
    pairs = [(slots[f"change_{rank}"], slots[f"moved_{rank}"]) for rank in range(1, count + 1)]  # the newest first
    moved = [new - old for new, old in zip(gradients, slots["gradient"], strict=True)]
    if step and _dot(moved, slots["change"]) > CURVATURE:
        pairs = [(slots["change"], moved), *pairs][: optimizer.history]
    size = sum(float(np.abs(gradient).sum(dtype=np.float64)) for gradient in gradients)
    length = rate * (1.0 if step or size <= 1 else 1 / size)
    change = [length * part for part in _direction(gradients, pairs)]
    after: dict[str, list[Array]] = {name: list(arrays) for name, arrays in slots.items()}
    after |= {"gradient": list(gradients), "change": change}
    for rank, (s, y) in enumerate(pairs, 1):
        after |= {f"change_{rank}": list(s), f"moved_{rank}": list(y)}
    after |= {name: [np.asarray(n)] * len(weights) for name, n in (("step", step + 1), ("pairs", len(pairs)))}
    return [weight + part for weight, part in zip(weights, change, strict=True)], after


def _direction(gradients: Arrays, pairs: Sequence[tuple[Arrays, Arrays]]) -> list[Array]:
    """-H g (Nocedal, Wright, "Numerical optimization", algorithm 7.4)."""
    found, shares = [-gradient for gradient in gradients], []
    for change, moved in pairs:
        shares.append(_dot(change, found) / _dot(moved, change))
        found = [part - shares[-1] * y for part, y in zip(found, moved, strict=True)]
    if pairs:
        change, moved = pairs[0]
        found = [_dot(moved, change) / _dot(moved, moved) * part for part in found]
    for (change, moved), share in zip(reversed(pairs), reversed(shares), strict=True):
        factor = share - _dot(moved, found) / _dot(moved, change)
        found = [part + factor * s for part, s in zip(found, change, strict=True)]
    return found


def _dot(first: Arrays, second: Arrays) -> float:
    pairs = zip(first, second, strict=True)
    return sum(float(np.vdot(a.astype(np.float64), b.astype(np.float64))) for a, b in pairs)
