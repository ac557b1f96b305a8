"""Normalisations, as ``torch.export`` writes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cnnbench.spec.graph import Value
from cnnbench.spec.layers import Add, BatchNorm, GroupNorm, InstanceNorm, Layer, LayerNorm, RMSNorm
from cnnbench.spec.layers.merge import Multiply
from cnnbench_torch.reading.call import AtenCall, FixedTensor, NotReadError, reads


def _normalized(call: AtenCall, kind: Callable[..., Layer], **state: FixedTensor) -> Value:
    """With its scale and shift; one of them alone stands behind it.

    Args:
        call: The operation.
        kind: (affine) -> the layer.
        state: Its statistics.
    """
    x, given = call.value("input"), {name: call.weight(name) for name in ("weight", "bias")}
    held = {name: item for name, item in given.items() if item is not None}
    if len(held) != 1:
        return call.weighted(kind(affine=bool(held)), x, **held, **state)
    ((name, item),) = held.items()
    if state:
        made = call.weighted(kind(affine=False), x, **state)
    else:
        made = call.add(kind(affine=False), x, part="normalized")
    rows = FixedTensor(item.tensor.reshape(1, -1, *(1,) * (len(x.shape) - 2)), item.name)
    layer = Multiply() if name == "weight" else Add(broadcast=True)
    return call.add(layer, made, call.as_value(rows), part="scaled" if name == "weight" else "shifted")


@reads("batch_norm")
def batch_norm(call: AtenCall) -> Value:
    """Its momentum is kept, and PyTorch's running variance is unbiased."""
    mean, variance = call.weight("running_mean"), call.weight("running_var")
    if mean is None or variance is None or call["training"]:
        raise NotReadError("a batch norm without running statistics, which uses those of the batch at inference")
    kind = partial(BatchNorm, eps=call["eps"], momentum=call["momentum"])
    return _normalized(call, kind, running_mean=mean, running_var=variance)


@reads("instance_norm")
def instance_norm(call: AtenCall) -> Value:
    """By each image's own statistics."""
    if not call["use_input_stats"]:
        raise NotReadError("an instance norm with running statistics")
    return _normalized(call, partial(InstanceNorm, eps=call["eps"]))


@reads("group_norm")
def group_norm(call: AtenCall) -> Value:
    """Groups of neighbouring channels."""
    return _normalized(call, partial(GroupNorm, groups=call["num_groups"], eps=call["eps"]))


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
