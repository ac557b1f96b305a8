"""Rounding to a policy's storage type, and the unit roundoffs that budgets are made of."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.execution.storage import all_to_storage as all_to_storage
from cnnbench.execution.storage import host_dtype as host_dtype
from cnnbench.execution.storage import to_storage as to_storage

Array = NDArray[Any]

ORACLE_ROUNDOFF = 2.0**-53  # the reference rounds too; counted in, so that float64 has a fair budget
_SMALLEST_NORMAL = {"float64": 2.0**-1022, "float32": 2.0**-126, "bfloat16": 2.0**-126, "float16": 2.0**-14}
_LARGEST = {"float32": 2.0**128 * (1 - 2.0**-24), "bfloat16": 2.0**128 * (1 - 2.0**-8), "float16": 65504.0}
_FLOOR = 2.0**-126  # budgets are kept in float32


def limits(policy: PrecisionPolicy) -> tuple[float, float]:
    """The largest finite and the smallest normal number of the storage type; for float64 those of float32."""
    largest = 65504.0 if policy.storage == "float16" else float(np.finfo(np.float32).max)
    return largest, max(_SMALLEST_NORMAL[policy.storage], _FLOOR)


def largest_value(policy: PrecisionPolicy) -> float:
    """The largest finite number of the storage type."""
    return _LARGEST.get(policy.storage, sys.float_info.max)


@dataclass(frozen=True)
class Roundoff:
    """The unit roundoffs of a policy as budgets use them, the oracle's own counted in.

    Args:
        stored: Of a stored value. accumulated: of a sum's accumulator.
        operand: Relative error of a product through the rounding of its operands; 0 where they are stored as used.
        smallest: What a denormal that is flushed to zero may lose.
        narrow_terms: The most terms that the sharp budget lets be summed with ``accumulated`` where that is a narrow
            type's roundoff: a longer sum held in it loses what it is for.
    """

    stored: float
    accumulated: float
    operand: float
    smallest: float
    narrow_terms: float = math.inf

    @staticmethod
    def of(policy: PrecisionPolicy) -> Roundoff:
        """The roundoffs of a policy."""
        rounds_operands = policy.product_roundoff > policy.storage_roundoff
        return Roundoff(
            policy.storage_roundoff + ORACLE_ROUNDOFF,
            policy.accumulator_roundoff + ORACLE_ROUNDOFF,
            2 * policy.product_roundoff if rounds_operands else 0.0,
            max(_SMALLEST_NORMAL[policy.storage], _FLOOR),
        )


def gamma(count: float, roundoff: float) -> float:
    """gamma_n = n u / (1 - n u), the worst relative error of n roundings (Higham 2002, lemma 3.1); inf from n u = 1."""
    product = count * roundoff
    return product / (1 - product) if product < 1 else math.inf


def sharp_factor(count: float, roundoff: float) -> float:
    """min(2 sqrt(n), n) u: what n independent roundings stay within (Higham, Mary 2019), never above the worst."""
    return min(2 * math.sqrt(count), count) * roundoff


def stored_loss(loss: float, policy: PrecisionPolicy) -> NDArray[Any]:
    """A loss as an array of the type that host arrays of the policy have."""
    return np.asarray(loss, host_dtype(policy))
