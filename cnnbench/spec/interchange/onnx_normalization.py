"""Importers of normalisation."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_metadata import kept_for
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.interchange.onnx_shape import lifted, lowered, positive, reshaped
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Add, BatchNorm, ChannelAffine, FrozenBatchNorm, Layer, Shape
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.magnitude import LocalResponseNorm, LpNorm, RMSNorm
from cnnbench.spec.layers.merge import Multiply, Subtract
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm

_STATISTICS = ("weight", "bias", "running_mean", "running_var")


@importer("BatchNormalization")
def batch_norm(node: OnnxNode) -> list[Result]:
    """BatchNormalization, by running statistics or, in training, by those of the batch.

    Below version 7 ``is_test`` says which, from 7 to 13 whether the model asks for further outputs, from 14 on
    ``training_mode``. Below 9 ``spatial`` 0 has a statistic for each position of a channel.
    """
    if node.version < 7:
        training = not node.attribute("is_test", 0)
    else:
        training = bool(node.attribute("training_mode", 0) if node.version >= 14 else any(node.outputs[1:]))
    if node.version < 9 and not node.attribute("spatial", 1):
        return [_by_position(node, training=training)]
    known = node.constant(0)
    if known is not None and not any(map(node.is_read, range(1, len(node.outputs)))):
        return [_of_known(node, known, training=training)]
    if training:
        return _by_batch(node)
    arrays = {name: node.static(i, name) for i, name in enumerate(_STATISTICS, 1)}
    layer = _by_running_statistics(node)
    held = {spec.name for spec in (*layer.weights((node.shape(),)), *layer.state((node.shape(),)))}
    return [node.add(layer, node.value(0), arrays={name: array for name, array in arrays.items() if name in held})]


def _by_running_statistics(node: OnnxNode) -> Layer:
    """The layer; what ONNX cannot say of its training is in the metadata where cnnbench wrote the model."""
    eps = node.attribute("epsilon", 1e-5)
    kept = kept_for(node.proto, "batch_norm", "frozen_batch_norm")
    if kept is not None and kept.kind == "frozen_batch_norm":
        return FrozenBatchNorm(**{"eps": eps} | kept.fields)
    said = {"momentum": 1.0 - node.attribute("momentum", 0.9), "running_variance": "biased", "eps": eps}
    return BatchNorm(**said | (kept.fields if kept else {}))


def _of_known(node: OnnxNode, x: Array, *, training: bool) -> Array:
    """Of what the model fixes: a weight that is standardised."""
    wide = np.moveaxis(x.astype(np.float64), 1, -1)
    scale, bias, mean, variance = (node.static(i, name).astype(np.float64) for i, name in enumerate(_STATISTICS, 1))
    if training:
        axes = tuple(range(wide.ndim - 1))
        mean, variance = wide.mean(axis=axes), wide.var(axis=axes)
    y: Array = (wide - mean) / np.sqrt(variance + node.attribute("epsilon", 1e-5)) * scale + bias
    return np.moveaxis(y, -1, 1).astype(x.dtype, copy=False)


def _by_batch(node: OnnxNode) -> list[Result]:
    """By the mean and the biased variance of the batch; then the running statistics, moved towards those."""
    if node.version < 14 and any(node.is_read(output) for output in range(2, 5)):
        raise node.reject(
            "the running variance after training is read, which versions below 14 do not define",
            received=f"version {node.version}",
            expected="version 14 or newer (opset 14)",
        )
    x = node.value(0)
    axes = tuple(axis for axis in range(len(x.shape)) if axis != 1)
    mean, variance, centred = _moments(node, x, axes)
    inside = node.add(Affine(shift=node.attribute("epsilon", 1e-5)), variance, part="inside")
    inverse = node.add(Elementwise(function="rsqrt"), inside, part="inverse_deviation")
    normal = node.add(Multiply(), centred, inverse, part="normal")
    y = node.add(ChannelAffine(), normal, arrays={"weight": node.static(1, "weight"), "bias": node.static(2, "bias")})
    results: list[Result] = [y]
    if not any(map(node.is_read, (1, 2))):
        return results
    for position, found in ((3, mean), (4, variance)):
        share = node.attribute("momentum", 0.9)
        kept = node.static(position, "a running statistic") * np.float32(share)
        before = node.parameter(kept, f"before{position}", trainable=False)
        channels = reshaped(node, found, (x.shape[1],), f"batch{position}")
        moved = node.add(Affine(scale=1.0 - share), channels, part=f"moved{position}")
        results.append(node.add(Add(), before, moved, part=_STATISTICS[position - 1]))
    return results


def _by_position(node: OnnxNode, *, training: bool) -> Value:
    """(x - mean) scale / sqrt(var + eps) + bias with arrays of an image's shape."""
    x = node.value(0)
    scale, bias, mean, variance = (node.static(i, name) for i, name in enumerate(_STATISTICS, 1))
    if training or scale.shape != x.shape[1:]:
        raise node.reject(
            "normalisation with spatial 0 is read in inference only, with a statistic for each value of an image",
            received=f"{'training' if training else 'inference'}, statistics of shape {scale.shape}",
            expected=f"inference, statistics of shape {x.shape[1:]}",
        )
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.attribute("epsilon", 1e-5))
    shift = bias - mean * factor
    scaled = node.add(Multiply(), x, node.parameter(factor[np.newaxis].astype(scale.dtype), "factor"), part="scaled")
    return node.add(Add(broadcast=True), scaled, node.parameter(shift[np.newaxis].astype(scale.dtype), "shift"))


def _affine(node: OnnxNode) -> dict[str, Array]:
    return {"weight": node.static(1, "the scale"), "bias": node.static(2, "the bias")}


@importer("InstanceNormalization")
def instance_norm(node: OnnxNode) -> Value:
    """InstanceNormalization."""
    layer = InstanceNorm(eps=node.attribute("epsilon", 1e-5), affine=True)
    return node.add(layer, node.value(0), arrays=_affine(node))


@importer("GroupNormalization")
def group_norm(node: OnnxNode) -> Value:
    """GroupNormalization; before version 21 its scale and bias were one a group."""
    x, arrays, groups = node.value(0), _affine(node), node.attribute("num_groups")
    expected = (groups if node.version < 21 else x.shape[1],)
    for name, array in arrays.items():
        if array.shape != expected:
            raise node.reject(f"the {name} has another shape", received=array.shape, expected=expected)
        arrays[name] = np.repeat(array, x.shape[1] // len(array))
    layer = GroupNorm(groups=groups, eps=node.attribute("epsilon", 1e-5))
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
    if not any(node.outputs[2:]):
        return [node.add(Reduce(function="mean", axes=axes), x, part="mean")]
    mean, variance, _ = _moments(node, x, axes)
    inside = node.add(Affine(shift=eps), variance, part="inside")
    return [mean, node.add(Elementwise(function="rsqrt"), inside, part="inverse_deviation")]


def _moments(node: OnnxNode, x: Value, axes: Shape) -> tuple[Value, Value, Value]:
    """The mean and the biased variance over some axes, and ``x`` less the mean."""
    mean = node.add(Reduce(function="mean", axes=axes), x, part="mean")
    centred = node.add(Subtract(), x, mean, part="centred")
    square = node.add(Elementwise(function="square"), centred, part="square")
    return mean, node.add(Reduce(function="mean", axes=axes), square, part="variance"), centred
