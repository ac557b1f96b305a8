"""Reference losses: the target class' value, and the stop of a gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.loss import NLLLoss, StopGradient
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays


def stop_gradient_backward(
    layer: StopGradient, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """Nothing."""
    return Gradients((None,))


@REFERENCE.register("stop_gradient", backward=stop_gradient_backward)
def stop_gradient(layer: StopGradient, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The value."""
    return OpResult((inputs[0],))


class Likelihoods(NamedTuple):
    """What the loss's gradient needs: d l_n / d x_{n,k} (N, K, *spatial), what a mean divides by (else 1), operands."""

    slopes: Array
    divisor: Array
    num_inputs: int


def nll_loss_backward(layer: NLLLoss, saved: Likelihoods, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The loss is linear in its scores."""
    dy = gradients[0] if layer.reduction != "none" else np.expand_dims(gradients[0], 1)
    return Gradients((saved.slopes / saved.divisor * dy, *(None,) * (saved.num_inputs - 1)))


@REFERENCE.register("nll_loss", backward=nll_loss_backward)
def nll_loss(layer: NLLLoss, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """-sum_k q_{n,k} w_k x_{n,k} with q the smoothed indicator of the target, 0 where the target is ignored."""
    x, target = inputs[:2]
    classes = x.shape[1]
    per_class = (classes, *(1,) * (x.ndim - 2))
    w = inputs[2] if len(inputs) == 3 else np.ones(classes, x.dtype)
    counts = np.ones(target.shape, bool) if layer.ignore_index is None else target != layer.ignore_index
    chosen = np.expand_dims(target, 1) == np.arange(classes).reshape(per_class)
    e = layer.label_smoothing
    slopes = -((1 - e) * chosen + e / classes) * w.reshape(per_class) * np.expand_dims(counts, 1)
    slopes = slopes.astype(x.dtype)
    values = (slopes * x).sum(axis=1)
    divisor = np.ones((), x.dtype)
    if layer.reduction == "mean":
        divisor = np.asarray(w[np.where(counts, target, 0)] * counts).sum()
    saved = Likelihoods(slopes, divisor, len(inputs))
    return OpResult((values if layer.reduction == "none" else np.asarray(values.sum() / divisor),), saved=saved)
