"""Normalisations by running statistics, by moments and by magnitudes."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.interchange.to_onnx.activation import shifted
from cnnbench.spec.interchange.to_onnx.writer import NodeWriter, exporter


@exporter("batch_norm", "frozen_batch_norm")
def batch_norm(node: NodeWriter) -> list[str]:
    """BatchNormalization by running statistics; without weights it has ones and zeros for them."""
    layer, channels = node.layer, node.shapes[0][1]
    affine = node.has("weight")
    weight = node.weight("weight") if affine else node.constant(np.ones(channels), "weight")
    bias = node.weight("bias") if affine else node.constant(np.zeros(channels), "bias")
    momentum = None
    if layer.kind == "batch_norm":
        momentum = 1.0 - layer.momentum
    node.keep_for_training(**layer.fields())
    operands = (node.x, weight, bias, node.weight("running_mean"), node.weight("running_var"))
    return [node.op("BatchNormalization", *operands, epsilon=float(layer.eps), momentum=momentum)]


@exporter("channel_affine")
def channel_affine(node: NodeWriter) -> list[str]:
    """x * weight + bias."""
    return [node.op("Add", node.op("Mul", node.x, node.per_channel("weight")), node.per_channel("bias"))]


@exporter("group_norm")
def group_norm(node: NodeWriter) -> list[str]:
    """GroupNormalization; without weights it has ones and zeros for them."""
    layer, channels = node.layer, node.shapes[0][1]
    weight = node.weight("weight") if layer.affine else node.constant(np.ones(channels), "weight")
    bias = node.weight("bias") if layer.affine else node.constant(np.zeros(channels), "bias")
    return [node.op("GroupNormalization", node.x, weight, bias, epsilon=float(layer.eps), num_groups=layer.groups)]


@exporter("instance_norm")
def instance_norm(node: NodeWriter) -> list[str]:
    """InstanceNormalization; without weights it has ones and zeros for them."""
    layer, channels = node.layer, node.shapes[0][1]
    weight = node.weight("weight") if layer.affine else node.constant(np.ones(channels), "weight")
    bias = node.weight("bias") if layer.affine else node.constant(np.zeros(channels), "bias")
    return [node.op("InstanceNormalization", node.x, weight, bias, epsilon=float(layer.eps))]


@exporter("layer_norm")
def layer_norm(node: NodeWriter) -> list[str]:
    """LayerNormalization; without a weight it has ones."""
    layer = node.layer
    normalised = node.shapes[0][layer.start_axis :]
    weight = node.weight("weight") if node.has("weight") else node.constant(np.ones(normalised), "weight")
    bias = (node.weight("bias"),) if node.has("bias") else ()
    return [node.op("LayerNormalization", node.x, weight, *bias, axis=layer.start_axis, epsilon=float(layer.eps))]


@exporter("mean_variance_norm")
def mean_variance_norm(node: NodeWriter) -> list[str]:
    """(x - mean) / (sqrt(var) + eps), from centred values."""
    layer = node.layer
    axes = node.constant(list(layer.axes), "axes")
    centred = node.op("Sub", node.x, node.op("ReduceMean", node.x, axes))
    variance = node.op("ReduceMean", node.op("Mul", centred, centred), axes)
    if layer.eps_place == "inside":
        deviation = node.op("Sqrt", shifted(node, variance, layer.eps))
    else:
        deviation = shifted(node, node.op("Sqrt", variance), layer.eps)
    return [node.op("Div", centred, deviation)]


@exporter("rms_norm")
def rms_norm(node: NodeWriter) -> list[str]:
    """x / sqrt(mean(x^2) + eps) * weight."""
    layer = node.layer
    start = layer.start_axis % node.rank
    axes = node.constant(list(range(start, node.rank)), "axes")
    square = node.op("ReduceMean", node.op("Mul", node.x, node.x), axes)
    normal = node.op("Div", node.x, node.op("Sqrt", shifted(node, square, layer.eps)))
    return [node.op("Mul", normal, node.weight("weight")) if layer.affine else normal]


@exporter("filter_response_norm")
def filter_response_norm(node: NodeWriter) -> list[str]:
    """x / sqrt(nu^2 + eps) * weight + bias."""
    axes = node.constant(list(range(2, node.rank)), "axes")
    square = node.op("ReduceMean", node.op("Mul", node.x, node.x), axes)
    normal = node.op("Div", node.x, node.op("Sqrt", shifted(node, square, node.layer.eps)))
    return [node.op("Add", node.op("Mul", normal, node.per_channel("weight")), node.per_channel("bias"))]


@exporter("lp_normalization")
def lp_normalization(node: NodeWriter) -> list[str]:
    """x / max(||x||_p, eps)."""
    layer = node.layer
    axes = node.constant([layer.axis], "axes")
    norm = node.op("ReduceL1" if layer.p == 1 else "ReduceL2", node.x, axes)
    return [node.op("Div", node.x, node.op("Max", norm, node.constant(float(layer.eps), "least")))]


@exporter("local_response_norm")
def local_response_norm(node: NodeWriter) -> list[str]:
    """LRN of images with an odd window, which every runtime has; else a sum over channels, written out."""
    layer = node.layer
    alpha = layer.alpha if layer.alpha_divided_by_size else layer.alpha * layer.size
    if layer.size % 2 and node.rank == 4:
        alpha, beta, k = float(alpha), float(layer.beta), float(layer.k)
        return [node.op("LRN", node.x, size=int(layer.size), alpha=alpha, beta=beta, bias=k)]
    channels = node.shapes[0][1]
    distance = np.arange(channels)[np.newaxis] - np.arange(channels)[:, np.newaxis]
    before = (layer.size if layer.even_window == "before" else layer.size - 1) // 2
    seen = ((distance >= -before) & (distance < layer.size - before)).astype(float)
    square = node.op("Mul", node.x, node.x)
    if node.rank == 2:
        total = node.op("MatMul", square, node.constant(seen.T * alpha / layer.size, "window"))
    else:
        kernel = seen.reshape(channels, channels, *(1,) * (node.rank - 2))
        total = node.op("Conv", square, node.constant(kernel * alpha / layer.size, "window"))
    total = shifted(node, total, layer.k)
    return [node.op("Div", node.x, node.op("Pow", total, node.constant(float(layer.beta), "beta")))]


@exporter("dropout")
def dropout(node: NodeWriter) -> list[str]:
    """Dropout, which passes its input on at inference."""
    node.keep_for_training(p=node.layer.p)
    return [node.op("Dropout", node.x, node.constant(float(node.layer.p), "ratio"))]


@exporter("stochastic_depth", "stop_gradient")
def identity(node: NodeWriter) -> list[str]:
    """The value itself at inference."""
    node.keep_for_training(**node.layer.fields())
    return [node.op("Identity", node.x)]


@exporter("nll_loss")
def nll_loss(node: NodeWriter) -> list[str]:
    """NegativeLogLikelihoodLoss, without label smoothing."""
    layer = node.layer
    if layer.label_smoothing:
        raise node.refuse("ONNX's loss has no label smoothing", received=layer.label_smoothing, expected=0)
    return [
        node.op("NegativeLogLikelihoodLoss", *node.inputs, reduction=layer.reduction, ignore_index=layer.ignore_index)
    ]
