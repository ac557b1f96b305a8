"""Envelopes from the deviations of perturbed runs: how far a value may lie from the exact one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import HostGradients
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.case import LARGE_PARAMETERS, Case
from cnnbench.numerics.comparison import largest
from cnnbench.numerics.outcome import NOT_APPLICABLE
from cnnbench.numerics.rounding import largest_value

Array = NDArray[Any]
FEW = (2, 1)  # perturbed runs that make the envelope, and runs on other seeds that calibrate the alarm
MANY = (8, 4)  # the same where a run costs little
LITTLE_MACS = 300_000_000  # and as many parameters as LARGE_PARAMETERS at most
SAFETY = 2.0  # with so few held-out runs, the next may lie beyond their largest
ENDS_AT = 0.1  # the share of a value that rounding may move it by while single runs are typical
ROUGH = 10.0
FLUSHED = 2.0**-116  # what a sum loses of whose terms a thousand are flushed to zero
LOSS = "loss"  # the name of the loss among the values
LOSS_SAFETY = 30.0  # a single number may by chance move little in all of its runs


@dataclass(frozen=True)
class Envelope:
    """How far each value may lie from the exact one: ``factor`` times ``size``.

    For example, let twelve runs of the oracle move every node's output by noise of the size of its sharp budget, and
    let the logits move by at most 2e-6 in the first eight runs: that is their size. The last four runs are held out. If
    one of them moves the logits by 2.4e-6, it uses 1.2 sizes, and the factor is 1.2 ``SAFETY``.

    Args:
        size: By name, the largest deviation in the fitted runs (at least one rounding of the value itself).
        factor: ``SAFETY`` times the largest share of ``size`` that a held-out run used, at least ``SAFETY``.
    """

    size: Mapping[str, float]
    factor: float

    def used(self, deviation: Mapping[str, float]) -> dict[str, float]:
        """The share of the envelope that each deviation uses; above 1 it lies outside."""
        return {name: deviation[name] / (self.factor * size) for name, size in self.size.items()}


def with_loss(result: HostGradients) -> dict[str, Array]:
    """The gradients of weights, and the loss as ``LOSS``."""
    return {**result.weights, LOSS: np.asarray(result.loss, np.float64)}


def leaves_range(exact: Mapping[str, Array], envelope: Envelope, policy: PrecisionPolicy) -> str | None:
    """Says that values, or those of a perturbed run, are beyond the largest number of the policy, where they are.

    Args:
        exact: What is right, by name.
        envelope: Of these values.
        policy: Whose numbers they should be.
    """
    most = largest_value(policy)
    sizes = {**largest(exact), **{name: np.inf for name, size in envelope.size.items() if not np.isfinite(size)}}
    beyond = next((name for name, size in sizes.items() if not size <= most), None)
    return None if beyond is None else f"{NOT_APPLICABLE}{beyond} leaves the range of {policy.name}"


def num_runs(case: Case) -> int:
    """How many perturbed runs are made for a case, fitted and held out together: few where one takes long."""
    little = case.lowered.macs(case.size) <= LITTLE_MACS and case.num_parameters <= LARGE_PARAMETERS
    return sum(MANY if little else FEW)


def joined(parts: Sequence[Envelope]) -> Envelope:
    """One envelope of several, in units of the smallest factor."""
    factor = min(part.factor for part in parts)
    sizes = {name: size * part.factor / factor for part in parts for name, size in part.size.items()}
    return Envelope(sizes, factor)


def calibrate(
    runs: Sequence[Mapping[str, float]],
    floor: Mapping[str, float],
    scale: Mapping[str, float],
    safety: float = SAFETY,
) -> Envelope:
    """The envelope that the deviations of perturbed runs make; the last runs are held out.

    A value that happened to move little in its own runs gets the median relative deviation of all values.

    Args:
        runs: Deviations by name, one mapping a run.
        floor: One rounding of each value, by name.
        scale: The largest magnitude of each value, by name.
        safety: By how much the next run may lie beyond the largest held-out one.
    """
    count = MANY[0] if len(runs) == sum(MANY) else FEW[0]
    fitted, held_out = runs[:count], runs[count:]
    own = {name: max(run[name] for run in fitted) for name in floor}
    relative = [own[name] / scale[name] for name in own if scale[name] > 0]
    pooled = float(np.median(relative)) if relative else 0.0
    size = {name: max(least, own[name], pooled * scale[name]) for name, least in floor.items()}
    beyond = max((run[name] / size[name] for run in held_out for name in size), default=1.0)
    return Envelope(size, safety * max(1.0, beyond))


def rounding_floor(exact: Mapping[str, Array], case: Case) -> dict[str, float]:
    """One rounding of each value to storage, and never 0."""
    u = case.policy.storage_roundoff
    return {name: max(u * value, FLUSHED) for name, value in largest(exact).items()}
