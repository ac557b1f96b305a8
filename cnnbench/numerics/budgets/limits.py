"""Where a layer leaves the range of its numbers, so that no budget says what it should give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy, precision
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import largest_value

SUMS_SQUARES = {"batch_norm", "layer_norm", "instance_norm", "group_norm", "mean_variance_norm"}


def leaves_limits(
    call: LayerCall, values: Sequence[NDArray[Any]], policy: PrecisionPolicy, *, of_gradient: bool = False
) -> bool:
    """Whether a value is beyond the largest number of the policy, or the sum of squares of which a variance is made.

    What frameworks give then is a matter of the order of their operations; ``special`` looks at infinities.

    Args:
        call: Of a layer, with its operands.
        values: What it gives, and what its gradients are.
        policy: The arithmetic.
        of_gradient: Whether it is about gradients, which are a matter of convention where a value is not a number, too.
    """
    most = largest_value(policy)
    floats = [x for x in (*call.inputs, *call.weights, *values) if x.dtype.kind == "f"]
    if any(_size(x) > most or (of_gradient and not _size(x) <= most) for x in floats):
        return True
    if call.layer.kind not in SUMS_SQUARES or (call.layer.kind == "batch_norm" and not call.training):
        return False
    of_sums = max(most, largest_value(precision("float32")))  # narrower types are summed in it
    return _size(call.inputs[0]) ** 2 * call.inputs[0].size > of_sums


def _size(array: NDArray[Any]) -> float:
    return float(np.max(np.abs(array), initial=0.0))
