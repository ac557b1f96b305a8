"""How far rounding alone drives the training curves of correct programs apart, measured on runs of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cnnbench.spec.frozen import Figures
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALARM = 10.0
SURE_STEPS = 10  # a wrong rule, loss or gradient shows from its first steps on
CHAOS = 0.05
FLOOR = 2.0**-21


@dataclass(frozen=True)
class CurveEnvelope:
    """The spread of training curves of the reference, step by step.

    For example, one backend trains a network four times in float32, from weights that differ by one unit in the last
    place, and once in float64. At step 1 the four losses lie within 1e-7 of the float64 one, at step 20 within 1e-3:
    that is the spread. At step 31 it exceeds ``CHAOS`` of the loss. From there on rounding alone separates the curves,
    and comparing another backend's curve would show nothing: 30 steps can be compared.

    Args:
        middle: The loss of each step in float64, or the mean over the runs where there is no run in float64. It may be
            shorter than the training, because a float64 run may stop once the curves have separated.
        spread: The largest distance of a run from ``middle`` up to each step, so that it never decreases. Without a run
            in float64, the largest difference between two runs.
        steps: The number of steps that can be compared.
        accuracies: Test accuracies of the runs that were trained to the end.
        exact: Whether ``middle`` is a run in float64.
        crossings: How far the loss of each of the first steps moves if values next to a kink cross it.
    """

    middle: tuple[float, ...]
    spread: tuple[float, ...]
    steps: int
    accuracies: tuple[float, ...]
    exact: bool = False
    crossings: tuple[float, ...] = ()


class CurveAgreement(Figures):
    """How a training curve lies in an envelope, and the envelope itself.

    Args:
        steps_compared: How many steps could be compared. steps: how many the curve has.
        used: The largest share of what is admitted that a step uses; None where none was compared.
        worst_step: That step, counted from 1.
        parts_at: The first step outside of the envelope; None where none is.
        agrees: True, False, or None for no verdict (``agreement`` says when).
        centre: What ``middle`` is: a run in float64, or the mean over the runs.
        middle, spread, crossings, reference_accuracies: As in ``CurveEnvelope``.
        accuracy_difference: The test accuracy minus the mean of the reference's.
        reference: Whose runs made the envelope: a cell's id, or ``numpy``.
    """

    steps_compared: int
    steps: int
    used: float | None
    worst_step: int | None
    parts_at: int | None
    agrees: bool | None
    alarm_factor: float = ALARM
    centre: Literal["float64", "mean"] = "mean"
    middle: tuple[float, ...]
    spread: tuple[float, ...]
    crossings: tuple[float, ...] = ()
    reference_accuracies: tuple[float, ...] = ()
    accuracy_difference: float | None = None
    reference: str | None = None

    @property
    def envelope(self) -> CurveEnvelope:
        """The envelope in which the curve was compared."""
        exact = self.centre == "float64"
        return CurveEnvelope(
            self.middle, self.spread, self.steps_compared, self.reference_accuracies, exact, self.crossings
        )


def perturbed(arrays: Mapping[str, NDArray[Any]], seed: int, run: int) -> dict[str, NDArray[Any]]:
    """Arrays with every value moved up or down at random by one unit in the last place; zeros and integers are kept.

    Args:
        arrays: The arrays by name.
        seed: The training's seed.
        run: Number of the reference run; each has its own draws.
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
    """Whether a float64 run and a curve differ by more than ``CHAOS`` of the loss, so that the run may stop.

    Args:
        step: Counted from 1.
        loss: The loss of the float64 run at that step.
        curve: The losses of the other run, step by step.
    """
    return not abs(curve[step - 1] - loss) <= CHAOS * abs(loss)


def envelope(
    losses: Sequence[Sequence[float]], accuracies: Sequence[float], exact: Sequence[float] | None = None
) -> CurveEnvelope:
    """The envelope of reference runs, including the unperturbed one.

    The spread is measured from the float64 run where there is one. That distance contains the rounding of every
    operation of every step, and another backend rounds as often. Two runs that start one unit in the last place apart
    share most of their rounding errors, so their difference is too small.

    Args:
        losses: The losses of each run, step by step.
        accuracies: Test accuracies of the runs that were trained to the end.
        exact: The losses of a float64 run from the unperturbed weights; it may have stopped early.
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
    """The envelope for a precision that the reference lacks: one step, whose loss may differ by ``CHAOS`` of itself.

    Args:
        exact: The losses of a run in float64.
    """
    spread = tuple(CHAOS / ALARM * abs(loss) for loss in exact[:1])
    return CurveEnvelope(tuple(exact[:1]), spread, len(spread), (), exact=True)


def agreement(losses: Sequence[float], accuracy: float | None, found: CurveEnvelope) -> CurveAgreement:
    """Compares a training curve with an envelope.

    ``used`` is the largest of |loss - middle| / (ALARM * spread + FLOOR * |middle| + crossings) over the steps that can
    be compared. ``parts_at`` is the first step at which it exceeds 1.

    * The spread is multiplied by ``ALARM``, because it comes from a few runs and another backend sums in another order.
      The floor is a few units in the last place.
    * Each step is compared with the spread of the next step. In an unstable training the curves may move a thousand
      times farther apart within one step, and one run may be a step ahead of the others. The first step is compared
      with its own spread, because nothing has been learnt yet.
    * ``crossings`` is made non-decreasing, as the spread is. It is not multiplied: a correct curve may cross each of
      these kinks, so they are added in full.
    * ``agrees`` is true where no step is outside the envelope, false where one of the first ``SURE_STEPS`` is, and None
      where the first is later. A correct curve can leave the envelope at any step, where rounding decides between two
      maxima or on which side of 0 a value lies; a fault acts from the first step on.
      ``benchmarks/training_curves.py`` measures how often correct curves leave. Crossings are computed before a curve
      is called wrong.

    Args:
        losses: The losses of the curve, step by step.
        accuracy: Test accuracy at the end of its run; None for a network that does not classify.
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
    return CurveAgreement(
        steps_compared=count,
        steps=len(losses),
        used=float(used[worst]) if worst is not None else None,
        worst_step=worst + 1 if worst is not None else None,
        parts_at=parts_at,
        agrees=_verdict(count, parts_at),
        centre="float64" if found.exact else "mean",
        middle=found.middle,
        spread=found.spread,
        crossings=found.crossings,
        reference_accuracies=found.accuracies,
        accuracy_difference=_difference(accuracy, found.accuracies),
    )


def _difference(accuracy: float | None, others: Sequence[float]) -> float | None:
    return accuracy - sum(others) / len(others) if others and accuracy is not None else None


def _verdict(compared: int, parts_at: int | None) -> bool | None:
    if compared and parts_at is None:
        return True
    return False if parts_at is not None and parts_at <= SURE_STEPS else None
