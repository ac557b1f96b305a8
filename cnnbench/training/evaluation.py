"""What a network's outputs on test images come to, computed on the host alike for every backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError


def host_loss(loss: Loss, outputs: Any, targets: Any) -> float:
    """A loss of outputs on the host, in float64, so that evaluation adds no difference between backends.

    Raises SpecError for a kind of loss that is not known here.
    """
    if isinstance(loss, MeanSquaredError):
        return float(np.mean((outputs - targets) ** 2))
    if not isinstance(loss, CrossEntropy):
        raise SpecError(f"evaluation does not know loss {loss.kind!r}", expected="cross_entropy or mean_squared_error")
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    e = loss.label_smoothing
    of_target = logarithms[np.arange(len(targets)), targets]
    return float(-np.mean((1 - e) * of_target + e * logarithms.mean(axis=1)))
