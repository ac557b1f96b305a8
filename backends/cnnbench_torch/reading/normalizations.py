"""Normalisations, as ``torch.export`` writes them."""

from __future__ import annotations

from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.layers import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from cnnbench_torch.reading.call import AtenCall, NotReadError, reads


def _affine(call: AtenCall) -> dict[str, Any]:
    weight, bias = call.weight("weight"), call.weight("bias")
    if (weight is None) != (bias is None):
        raise NotReadError("a normalisation with a scale alone, or a shift alone")
    return {"weight": weight, "bias": bias}


@reads("batch_norm")
def batch_norm(call: AtenCall) -> Value:
    """Its momentum is kept, and PyTorch's running variance is unbiased."""
    mean, variance = call.weight("running_mean"), call.weight("running_var")
    if mean is None or variance is None or call["training"]:
        raise NotReadError("a batch norm without running statistics, which uses those of the batch at inference")
    arrays = _affine(call)
    layer = BatchNorm(eps=call["eps"], momentum=call["momentum"], affine=arrays["weight"] is not None)
    return call.weighted(layer, call.value("input"), **arrays, running_mean=mean, running_var=variance)


@reads("instance_norm")
def instance_norm(call: AtenCall) -> Value:
    """By each image's own statistics."""
    if not call["use_input_stats"]:
        raise NotReadError("an instance norm with running statistics")
    arrays = _affine(call)
    layer = InstanceNorm(eps=call["eps"], affine=arrays["weight"] is not None)
    return call.weighted(layer, call.value("input"), **arrays)


@reads("group_norm")
def group_norm(call: AtenCall) -> Value:
    """Groups of neighbouring channels."""
    arrays = _affine(call)
    layer = GroupNorm(groups=call["num_groups"], eps=call["eps"], affine=arrays["weight"] is not None)
    return call.weighted(layer, call.value("input"), **arrays)


@reads("layer_norm")
def layer_norm(call: AtenCall) -> Value:
    """Over the last axes."""
    weight, bias = call.weight("weight"), call.weight("bias")
    layer = LayerNorm(
        start_axis=-len(call["normalized_shape"]), eps=call["eps"], affine=weight is not None, bias=bias is not None
    )
    return call.weighted(layer, call.value("input"), weight=weight, bias=bias)


@reads("rms_norm")
def rms_norm(call: AtenCall) -> Value:
    """Without a mean; PyTorch's default epsilon is that of the type."""
    weight = call.weight("weight")
    if call["eps"] is None:
        raise NotReadError("an RMS norm whose epsilon is the type's: state eps")
    layer = RMSNorm(start_axis=-len(call["normalized_shape"]), eps=call["eps"], affine=weight is not None)
    return call.weighted(layer, call.value("input"), weight=weight)
