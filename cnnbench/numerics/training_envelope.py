"""How far the training curves of equal programs may part: the spread that rounding gives to reference runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALARM = 10.0
SURE_STEPS = 10  # a wrong rule, loss or gradient shows from its first steps on
CHAOS = 0.05
FLOOR = 2.0**-21


@dataclass(frozen=True)
class CurveEnvelope:
    """The spread of reference runs, step by step.

    For example, one backend trains a network four times in float32, from weights that differ by one unit in the last
    place, and once in float64. At step 1 the four losses lie within 1e-7 of the float64 one, at step 20 within 1e-3:
    that is the spread. At step 31 it exceeds ``CHAOS`` of the loss. From there on rounding alone parts the curves, so
    that comparing another backend's curve would say nothing: 30 steps can be compared.

    Args:
        middle: The loss of each step in float64; it may end where the curves have parted. Where there is no such run,
            the mean over the runs.
        spread: The largest distance of a run from ``middle`` up to each step; it never falls. Where there is no run in
            float64, the largest difference between two runs.
        steps: How many steps can be compared.
        accuracies: Test accuracy at the end of the runs that went so far.
        exact: Whether ``middle`` is a run in float64.
        crossings: How far values that lie next to a kink move the loss of the first steps, if they cross it.
    """

    middle: tuple[float, ...]
    spread: tuple[float, ...]
    steps: int
    accuracies: tuple[float, ...]
    exact: bool = False
    crossings: tuple[float, ...] = ()


def perturbed(arrays: Mapping[str, NDArray[Any]], seed: int, run: int) -> dict[str, NDArray[Any]]:
    """Arrays with every value moved one unit in the last place up or down, at random; zeros and integers stay.

    Args:
        arrays: By name.
        seed: Of the training.
        run: Number of the reference run; each moves by other draws.
    """
    import numpy as np

    moved = {}
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            moved[name] = array
            continue
        up = stream(seed, "perturbation", name, run).random(array.shape) < 0.5
        limits = np.where(up, np.inf, -np.inf).astype(array.dtype)
        moved[name] = np.where(array == 0, array, np.nextafter(array, limits))
    return moved


def parted(step: int, loss: float, curve: Sequence[float]) -> bool:
    """Whether a run in float64 and a curve are more than ``CHAOS`` of the loss apart, so that the run may stop there.

    Args:
        step: From 1.
        loss: Of the run in float64 at that step.
        curve: The losses that it is compared with.
    """
    return not abs(curve[step - 1] - loss) <= CHAOS * abs(loss)


def envelope(
    losses: Sequence[Sequence[float]], accuracies: Sequence[float], exact: Sequence[float] | None = None
) -> CurveEnvelope:
    """The envelope of reference runs, the unperturbed one among them.

    The distance from float64 counts and not that between two runs: it shows what rounding every operation of every step
    does, and another backend rounds as often. Two runs that start one unit apart round alike, and part by less.

    Args:
        losses: Of each run, step by step.
        accuracies: On the test images at the end, of the runs that went so far.
        exact: The losses of a run in float64 from the unperturbed weights, as far as it went.
    """
    import numpy as np

    length = min(map(len, [*losses, *([] if exact is None else [exact])]))
    curves = np.array([curve[:length] for curve in losses], float)
    middle = curves.mean(axis=0) if exact is None else np.array(exact[:length], float)
    apart = curves.max(axis=0) - curves.min(axis=0) if exact is None else np.abs(curves - middle).max(axis=0)
    spread = np.maximum.accumulate(apart)
    beyond = np.flatnonzero(~(spread <= CHAOS * np.abs(middle)))
    steps = int(beyond[0]) if beyond.size else len(middle)
    return CurveEnvelope(tuple(middle.tolist()), tuple(spread.tolist()), steps, tuple(accuracies), exact is not None)


def rough_envelope(exact: Sequence[float]) -> CurveEnvelope:
    """The envelope for a precision that the reference lacks: of the first step, ``CHAOS`` of the loss is admitted.

    Args:
        exact: The losses of a run in float64.
    """
    spread = tuple(CHAOS / ALARM * abs(loss) for loss in exact[:1])
    return CurveEnvelope(tuple(exact[:1]), spread, len(spread), (), exact=True)


def agreement(losses: Sequence[float], accuracy: float | None, found: CurveEnvelope) -> dict[str, Any]:
    """How a curve lies in an envelope, as plain data for ``Training.envelope``.

    ``used`` is the largest of |loss - middle| / (ALARM * spread + FLOOR * |middle| + crossings) over the steps that can
    be compared; ``parts_at`` is the first step at which it exceeds 1.

    * The spread of a few runs is multiplied, because another backend sums in another order. The floor is a few units in
      the last place.
    * The spread is that of the next step. Curves of a network that trains wildly part a thousand times farther from one
      step to the next, and one run may be a step ahead of the others. The first step has its own spread, because
      nothing has been learnt yet.
    * The crossings never fall from step to step, as the spread does not, and count in full: each is one that a right
      curve may make.
    * A right curve can leave the envelope at any step, where rounding decides between two maxima, or on which side of 0
      a value lies. A fault acts from the first step on. So ``agrees`` is true where no step is outside, false where one
      of the first ``SURE_STEPS`` is, and None where the curve parts later (``benchmarks/training_curves.py`` measures
      how often that is). Before one is called wrong, the crossings are found.

    Args:
        losses: Of the curve, step by step.
        accuracy: Of its run, on the test images at the end; None for a network that does not classify.
        found: The envelope.
    """
    import numpy as np

    count = min(found.steps, len(losses))
    middle = np.array(found.middle[:count])
    spread = np.array([*found.spread[:1], *found.spread[2:], *found.spread[-1:]])[:count]
    moved = np.zeros(count)
    if found.crossings:
        moved = np.maximum.accumulate(np.array([*found.crossings, *[0.0] * count])[:count])
    allowed = ALARM * spread + FLOOR * np.abs(middle) + moved
    used = np.abs(np.array(losses[:count]) - middle) / allowed
    worst = int(np.argmax(used)) if count else None
    outside = np.flatnonzero(~(used <= 1))
    parts_at = int(outside[0]) + 1 if outside.size else None
    return {
        "steps_compared": count,
        "steps": len(losses),
        "used": float(used[worst]) if worst is not None else None,
        "worst_step": worst + 1 if worst is not None else None,
        "parts_at": parts_at,
        "agrees": _verdict(count, parts_at),
        "alarm_factor": ALARM,
        "centre": "float64" if found.exact else "mean",
        "middle": list(found.middle),
        "spread": list(found.spread),
        "crossings": list(found.crossings),
        "reference_accuracies": list(found.accuracies),
        "accuracy_difference": _difference(accuracy, found.accuracies),
    }


def _difference(accuracy: float | None, others: Sequence[float]) -> float | None:
    return accuracy - sum(others) / len(others) if others and accuracy is not None else None


def _verdict(compared: int, parts_at: int | None) -> bool | None:
    if compared and parts_at is None:
        return True
    return False if parts_at is not None and parts_at <= SURE_STEPS else None
