"""Budgets of losses as layers, and of a loss's gradient with respect to the network's main output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy, precision
from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    exact,
    forward_budget,
    forward_formula,
    gradient_budget,
    gradient_formula,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs
from cnnbench.numerics.hard_operands import hard_operands, no_hard_operands, of_every_size
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.numerics.rounding import Roundoff
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError

hard_operands("stop_gradient")(of_every_size)
no_hard_operands("nll_loss", because="it chooses among logarithms, which log_softmax makes")

forward_formula("stop_gradient")(exact_outputs)
gradient_formula("stop_gradient")(exact_gradients)


def loss_gradient_budget(
    loss: Loss, output: NDArray[Any], targets: NDArray[Any], gradient: NDArray[Any], policy: PrecisionPolicy
) -> Budget:
    """The admitted error of a loss's gradient with respect to the network's main output.

    * Cross-entropy, (p - q) / N with p = softmax(output) and known q: the relative error of p grows with the depth of
      an element below the maximum, as that of log-softmax does.
    * The squared error, 2 (output - target) / size: a few roundings.
    * The main output itself: its gradient is 1, exactly.
    * Other losses: the budget of the gradient of their layer.

    Args:
        loss: The loss.
        output: The main output.
        targets: Of the loss.
        gradient: The exact gradient.
        policy: The arithmetic.
    """
    u = Roundoff.of(policy)
    wide = np.asarray(output, np.float64)
    if not loss.has_targets:
        return exact(u)
    if isinstance(loss, CrossEntropy) and wide.ndim == 2 and not loss.of_layer:
        depth = np.abs(wide - wide.max(axis=1, keepdims=True))
        p = np.exp(-depth) / np.exp(-depth).sum(axis=1, keepdims=True)
        q = np.abs(gradient * len(wide) - p)
        relative = 24 * u.stored + 2 * u.stored * (depth + (p * depth).sum(axis=1, keepdims=True))
        relative = relative + wide.shape[1] * u.accumulated
        size = (p * relative + 6 * u.stored * (p + q)) / len(wide)
    elif isinstance(loss, MeanSquaredError):
        size = 8 * u.stored * (np.abs(wide) + np.abs(targets)) * 2 / wide.size
    else:
        return _of_layer(loss, wide, targets, gradient, policy)
    return Budget(size + 4 * u.smallest, 2 * size + 4 * u.smallest)


def loss_budget(loss: Loss, output: NDArray[Any], targets: NDArray[Any], policy: PrecisionPolicy) -> Budget:
    """The admitted error of a loss, which is summed in float32 at least, whatever the policy stores.

    * Cross-entropy of N images and K classes, with d the depth of a class below the maximum and L the logarithm of the
      sum of exponentials: c(K + N) and 24 roundings of the mean of q (1 + d + L).
    * The squared error: c(size) and 6 roundings of the mean itself.
    * The main output itself: exact, but for the rounding to the narrower of its type and the loss's.
    * Other losses: the budget of their layer.

    Args:
        loss: The loss.
        output: The main output.
        targets: Of the loss.
        policy: The arithmetic of the network.
    """
    wide = np.asarray(output, np.float64)
    policy = policy if policy.storage == "float64" else precision("float32")
    u = Roundoff.of(policy)
    if not loss.has_targets:
        return exact(u)
    if isinstance(loss, CrossEntropy) and wide.ndim == 2 and not loss.of_layer:
        depth = wide.max(axis=1, keepdims=True) - wide
        size = 1 + depth + np.log(np.exp(-depth).sum(axis=1, keepdims=True))
        e, (count, classes) = loss.label_smoothing, wide.shape
        of_target = size[np.arange(count), targets]
        magnitude = np.mean((1 - e) * of_target + e * size.mean(axis=1))
        terms, few = classes + count, 24
    elif isinstance(loss, MeanSquaredError):
        magnitude, terms, few = np.mean((wide - targets) ** 2), wide.size, 6
    else:
        call = _layer_call(loss, wide, targets)
        return forward_budget(Setting(call, reference().forward(call), policy, reference())).outputs[0]
    return both(lambda c: (c(terms, u.accumulated) + few * u.stored) * magnitude + 4 * u.smallest)


def _layer_call(loss: Loss, wide: NDArray[Any], targets: NDArray[Any]) -> LayerCall:
    known = targets if targets.dtype.kind in "iu" else np.asarray(targets, np.float64)
    return LayerCall(loss.layer().resolve((wide.shape, known.shape)), (wide, known), training=True)


def _of_layer(
    loss: Loss, output: NDArray[Any], targets: NDArray[Any], gradient: NDArray[Any], policy: PrecisionPolicy
) -> Budget:
    call = _layer_call(loss, output, targets)
    values = reference().forward(call)
    one = np.ones(())
    setting = GradientSetting(call, values, policy, reference(), (one,), reference().gradient(call, (one,)))
    found = gradient_budget(setting).inputs[0]
    return exact(Roundoff.of(policy)) if found is None else found


@forward_formula("nll_loss")
def nll_loss(setting: Setting) -> ForwardBudget:
    """K terms where targets are smoothed, else one, of every target (one without a reduction): c(terms + 4) S on
    magnitudes, and the divisor's own sum c(targets) |y|.
    """
    layer, u, (x, target) = setting.layer, setting.u, setting.call.inputs[:2]
    own = np.abs(setting.values.outputs[0])
    call = replace(setting.call, inputs=(np.abs(x), target, *map(np.abs, setting.call.inputs[2:])))
    magnitude = np.abs(setting.reference.forward(call).outputs[0])
    targets = 1 if layer.reduction == "none" else target.size
    terms = targets * (x.shape[1] if layer.label_smoothing else 1) + 4
    divisor = target.size if layer.reduction == "mean" else 0
    return ForwardBudget(
        (
            both(
                lambda c: (
                    c(terms, u.accumulated) * magnitude
                    + (c(divisor, u.accumulated) + u.stored) * own
                    + terms * u.smallest
                )
            ),
        )
    )


@gradient_formula("nll_loss")
def nll_loss_gradient(setting: GradientSetting) -> GradientBudget:
    """A product of known factors over the divisor's sum: 6 roundings and c(targets), all relative."""
    u, target = setting.u, setting.call.inputs[1]
    own = np.abs(setting.gradients.inputs[0])
    divisor = target.size if setting.layer.reduction == "mean" else 0
    size = both(lambda c: (c(6, u.stored) + c(divisor, u.accumulated)) * own + 4 * u.smallest)
    weights = [None if g is None else exact(u) for g in setting.gradients.inputs[1:]]
    return GradientBudget((size, *weights))
