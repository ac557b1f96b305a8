"""Reference normalisation by each image's own mean and variance: layer, instance, group and their kin."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays, spatial

Axes = tuple[int, ...]


class _Saved(NamedTuple):
    """What the backward functions need: x' = (x - mean) / std of the same shape as x."""

    normal: Array
    inverse_std: Array


def _standardize(x: Array, axes: Axes, eps: float) -> _Saved:
    """(x - mean) / sqrt(var + eps) over the axes; NumPy's var is biased and of centred values."""
    inverse_std = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    return _Saved((x - x.mean(axis=axes, keepdims=True)) * inverse_std, inverse_std)


def _standardize_backward(dy: Array, saved: _Saved, axes: Axes) -> Array:
    """(1 / std) (dy - mean(dy) - x' mean(dy x'))."""
    normal, inverse_std = saved
    along = (dy * normal).mean(axis=axes, keepdims=True)
    return np.asarray(inverse_std * (dy - dy.mean(axis=axes, keepdims=True) - normal * along))


def _channels(values: Array, x: Array) -> Array:
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def _per_channel(normal: Array, weights: Arrays) -> Array:
    """x' w + b, or x' where there are no weights."""
    return normal * _channels(weights[0], normal) + _channels(weights[1], normal) if weights else normal


def _per_channel_backward(dy: Array, normal: Array, weights: Arrays) -> tuple[Array, Arrays]:
    """The gradients of x', and of weight and bias."""
    if not weights:
        return dy, ()
    axes = (0, *range(2, dy.ndim))
    return dy * _channels(weights[0], dy), ((dy * normal).sum(axis=axes), dy.sum(axis=axes))


def layer_norm_backward(layer: LayerNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dw = sum dy x', db = sum dy over the axes before; dx by the statistics."""
    dy = gradients[0]
    before, axes = tuple(range(layer.start_axis)), tuple(range(layer.start_axis, dy.ndim))
    found = ((dy * saved.normal).sum(axis=before), dy.sum(axis=before))[: len(weights)]
    inner = dy * weights[0] if weights else dy
    return Gradients((_standardize_backward(inner, saved, axes),), found)


@REFERENCE.register("layer_norm", backward=layer_norm_backward)
def layer_norm(layer: LayerNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x' w + b, x' over the axes from ``start_axis`` on."""
    x = inputs[0]
    saved = _standardize(x, tuple(range(layer.start_axis, x.ndim)), layer.eps)
    y = saved.normal
    if weights:
        y = y * weights[0]
    if len(weights) > 1:
        y = y + weights[1]
    return OpResult((y,), saved=saved)


def instance_norm_backward(
    layer: InstanceNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """As layer norm over space."""
    dy = gradients[0]
    inner, found = _per_channel_backward(dy, saved.normal, weights)
    return Gradients((_standardize_backward(inner, saved, tuple(range(2, dy.ndim))),), found)


@spatial("instance_norm", backward=instance_norm_backward)
def instance_norm(layer: InstanceNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x' w + b, x' over space."""
    x = inputs[0]
    saved = _standardize(x, tuple(range(2, x.ndim)), layer.eps)
    return OpResult((_per_channel(saved.normal, weights),), saved=saved)


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, *spatial) as (N, groups, values of a group)."""
    return x.reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups)


def group_norm_backward(layer: GroupNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """As layer norm over each group."""
    dy = gradients[0]
    inner, found = _per_channel_backward(dy, saved.normal.reshape(dy.shape), weights)
    dx = _standardize_backward(_grouped(inner, layer.groups), saved, (2,))
    return Gradients((dx.reshape(dy.shape),), found)


@spatial("group_norm", backward=group_norm_backward)
def group_norm(layer: GroupNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x' w + b, x' over space and the channels of a group."""
    x = inputs[0]
    saved = _standardize(_grouped(x, layer.groups), (2,), layer.eps)
    return OpResult((_per_channel(saved.normal.reshape(x.shape), weights),), saved=saved)


def mean_variance_norm_backward(
    layer: MeanVarianceNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """f (dy - mean(dy) - (x - mean) / std mean(dy x')), f the factor; std has eps where the factor's root has."""
    normal, factor, over_std = saved
    dy = gradients[0]
    along = (dy * normal).mean(axis=layer.axes, keepdims=True)
    return Gradients((factor * (dy - dy.mean(axis=layer.axes, keepdims=True)) - factor * over_std * along,))


@spatial("mean_variance_norm", backward=mean_variance_norm_backward)
def mean_variance_norm(layer: MeanVarianceNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """(x - mean) / (sqrt(var) + eps), or / sqrt(var + eps)."""
    x = inputs[0]
    centred = x - x.mean(axis=layer.axes, keepdims=True)
    variance = x.var(axis=layer.axes, keepdims=True)
    outside = layer.eps if layer.eps_place == "outside" else 0.0
    root = np.sqrt(variance + (layer.eps - outside))
    factor = 1 / (root + outside)
    # a constant channel has no root to differentiate: its deviations are 0 and stay so
    over_std = centred / np.where(root > 0, root, 1)
    return OpResult((centred * factor,), saved=(centred * factor, factor, over_std))
