"""Losses on ``torch.nn.functional``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.loss import NLLLoss, StopGradient
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("stop_gradient")
def stop_gradient(layer: StopGradient, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``detach``."""
    return OpResult((inputs[0].detach(),))


@OPERATIONS.register("nll_loss")
def nll_loss(layer: NLLLoss, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``nll_loss``, in float32 where scores are narrower; smoothing as ``cross_entropy`` has it inside."""
    # Of images held channels-last the gradient fails: "grad_input must be contiguous" (PyTorch 2.13).
    x = inputs[0].to(torch.promote_types(inputs[0].dtype, torch.float32)).contiguous()
    target = inputs[1]
    w = inputs[2].detach().to(x.dtype) if len(inputs) == 3 else None
    # No class has a number below 0 but by wrapping round, so this one ignores nothing.
    ignored = -(2**31) if layer.ignore_index is None else layer.ignore_index
    e = layer.label_smoothing
    if not e:
        value = functional.nll_loss(x, target, w, ignore_index=ignored, reduction=layer.reduction)
        return OpResult((value.to(inputs[0].dtype),))
    value = (1 - e) * functional.nll_loss(x, target, w, ignore_index=ignored, reduction="none")
    counts = target != ignored
    weighted = x if w is None else x * w.reshape(-1, *(1,) * (x.dim() - 2))
    value = value - torch.where(counts, weighted.sum(1) * (e / x.shape[1]), 0)
    if layer.reduction != "none":
        value = value.sum()
    if layer.reduction == "mean":
        own = counts if w is None else w[torch.where(counts, target, 0)] * counts
        value = value / own.sum()
    return OpResult((value.to(inputs[0].dtype),))
