"""The budget of a loss's gradient with respect to the network's main output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.budgets.base import Budget
from cnnbench.numerics.rounding import Roundoff
from cnnbench.spec.losses import CrossEntropy, Loss


def loss_gradient_budget(loss: Loss, output: NDArray[Any], gradient: NDArray[Any], policy: PrecisionPolicy) -> Budget:
    """Admitted error of ``gradient``, the exact gradient of ``loss`` at ``output``.

    Cross-entropy: (p - q) / N with p = softmax(output), whose relative error grows with the depth of an element below
    the maximum, as log-softmax's; q is known. The squared error, 2 (output - target) / size: a few roundings.
    """
    u = Roundoff.of(policy)
    wide = np.asarray(output, np.float64)
    if isinstance(loss, CrossEntropy):
        depth = np.abs(wide - wide.max(axis=1, keepdims=True))
        p = np.exp(-depth) / np.exp(-depth).sum(axis=1, keepdims=True)
        q = np.abs(gradient * len(wide) - p)
        relative = 24 * u.stored + 2 * u.stored * (depth + (p * depth).sum(axis=1, keepdims=True))
        relative = relative + wide.shape[1] * u.accumulated
        size = (p * relative + 6 * u.stored * (p + q)) / len(wide)
    else:
        targets = np.abs(wide - gradient * (wide.size / 2))
        size = 8 * u.stored * (np.abs(wide) + targets) * 2 / wide.size
    return Budget(size + 4 * u.smallest, 2 * size + 4 * u.smallest)
