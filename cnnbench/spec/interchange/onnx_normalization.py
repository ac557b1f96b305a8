"""Importers of normalisation."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.interchange.onnx_shape import lifted, lowered, positive
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import BatchNorm
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.magnitude import LocalResponseNorm, LpNorm, RMSNorm
from cnnbench.spec.layers.merge import Subtract
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm


@importer("BatchNormalization")
def batch_norm(node: OnnxNode) -> list[Result]:
    """BatchNormalization; in training mode the running statistics are outputs, and hold the biased variance."""
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {name: node.static(i, name) for i, name in enumerate(names, 1)}
    training = bool(node.attribute("training_mode", 0))
    layer = BatchNorm(
        eps=node.attribute("epsilon", 1e-5),
        momentum=1.0 - node.attribute("momentum", 0.9),
        running_variance="biased",
    )
    y = node.add(layer, node.value(0), arrays=arrays)
    if not training:
        return [y]
    node.train()
    return [y, node.state(y, "running_mean"), node.state(y, "running_var")]


def _affine(node: OnnxNode) -> dict[str, Array]:
    return {"weight": node.static(1, "the scale"), "bias": node.static(2, "the bias")}


@importer("InstanceNormalization")
def instance_norm(node: OnnxNode) -> Value:
    """InstanceNormalization."""
    layer = InstanceNorm(eps=node.attribute("epsilon", 1e-5), affine=True)
    return node.add(layer, node.value(0), arrays=_affine(node))


@importer("GroupNormalization")
def group_norm(node: OnnxNode) -> Value:
    """GroupNormalization; before opset 21 its scale and bias were one a group."""
    x, arrays = node.value(0), _affine(node)
    arrays = {
        name: np.repeat(array, x.shape[1] // len(array)) if len(array) != x.shape[1] else array
        for name, array in arrays.items()
    }
    layer = GroupNorm(groups=node.attribute("num_groups"), eps=node.attribute("epsilon", 1e-5))
    return node.add(layer, x, arrays=arrays)


@importer("LRN")
def local_response_norm(node: OnnxNode) -> Value:
    """LRN: the extra channel of an even window comes after."""
    layer = LocalResponseNorm(
        size=node.attribute("size"),
        alpha=node.attribute("alpha", 1e-4),
        beta=node.attribute("beta", 0.75),
        k=node.attribute("bias", 1.0),
        even_window="after",
    )
    return node.add(layer, node.value(0))


@importer("LpNormalization")
def lp_normalization(node: OnnxNode) -> Value:
    """LpNormalization."""
    return node.add(LpNorm(p=node.attribute("p", 2), axis=node.attribute("axis", -1)), node.value(0))


@importer("MeanVarianceNormalization")
def mean_variance_norm(node: OnnxNode) -> Value:
    """MeanVarianceNormalization."""
    return node.add(MeanVarianceNorm(axes=node.attribute("axes", (0, 2, 3))), node.value(0))


@importer("RMSNormalization")
def rms_norm(node: OnnxNode) -> Value:
    """RMSNormalization over the axes from ``axis`` on."""
    x, weight = node.value(0), node.static(1, "the scale")
    axis = positive(node.attribute("axis", -1), len(x.shape))
    eps = node.attribute("epsilon", 1e-5)
    arrays = {"weight": np.broadcast_to(weight, x.shape[axis:])}
    if axis:
        return node.add(RMSNorm(start_axis=axis, eps=eps), x, arrays=arrays)
    return lowered(node, node.add(RMSNorm(start_axis=1, eps=eps), lifted(node, x), part="normalized", arrays=arrays))


@importer("LayerNormalization")
def layer_norm(node: OnnxNode) -> list[Result]:
    """LayerNormalization over the axes from ``axis`` on."""
    x, weight = node.value(0), node.static(1, "the scale")
    axis = positive(node.attribute("axis", -1), len(x.shape))
    eps = node.attribute("epsilon", 1e-5)
    shape = x.shape[axis:]
    arrays = {"weight": np.broadcast_to(weight, shape)}
    if node.has(2):
        arrays["bias"] = np.broadcast_to(node.static(2, "the bias"), shape)
    layer = LayerNorm(start_axis=max(axis, 1), eps=eps, bias=node.has(2))
    if axis:
        y = node.add(layer, x, arrays=arrays)
    else:
        y = lowered(node, node.add(layer, lifted(node, x), part="normalized", arrays=arrays))
    return [y, *_statistics(node, x, axis, eps)]


def _statistics(node: OnnxNode, x: Value, axis: int, eps: float) -> list[Value]:
    """The mean and 1 / sqrt(var + eps), each where the model reads it."""
    axes = tuple(range(axis, len(x.shape)))
    if not any(node.outputs[1:]):
        return []
    mean = node.add(Reduce(function="mean", axes=axes), x, part="mean")
    if not any(node.outputs[2:]):
        return [mean]
    centred = node.add(Subtract(), x, mean, part="centred")
    square = node.add(Elementwise(function="square"), centred, part="square")
    variance = node.add(Reduce(function="mean", axes=axes), square, part="variance")
    inside = node.add(Affine(shift=eps), variance, part="inside")
    return [mean, node.add(Elementwise(function="rsqrt"), inside, part="inverse_deviation")]
