"""Normalisation by each image's mean and variance: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm

TOKENS = ((7, 12),)
NARROW = ((6, 5, 4),)

CASES = {
    "layer_norm/tokens": LayerCase(LayerNorm(), TOKENS),
    "layer_norm/row": LayerCase(LayerNorm(eps=1e-3), ROW),
    "layer_norm/image": LayerCase(LayerNorm(start_axis=1), EVEN),
    "layer_norm/two_axes": LayerCase(LayerNorm(start_axis=2, eps=1e-6), NARROW),
    "layer_norm/windows": LayerCase(LayerNorm(), ((4, 5, 6),), batch=3),
    "layer_norm/no_bias": LayerCase(LayerNorm(bias=False), TOKENS),
    "layer_norm/no_affine": LayerCase(LayerNorm(affine=False), TOKENS),
    "layer_norm/large_mean": LayerCase(LayerNorm(), ((5, 64),), shift=1000.0),
    "layer_norm/small_variance": LayerCase(LayerNorm(), TOKENS, scale=0.003),
    "instance_norm/plain": LayerCase(InstanceNorm(), EVEN),
    "instance_norm/affine": LayerCase(InstanceNorm(affine=True, eps=1e-3), EVEN),
    "instance_norm/1d": LayerCase(InstanceNorm(affine=True), ((4, 11),)),
    "instance_norm/3d": LayerCase(InstanceNorm(), ((2, 3, 4, 5),), batch=1),
    "instance_norm/one_position": LayerCase(InstanceNorm(affine=True), ((4, 1, 1),)),
    "instance_norm/large_mean": LayerCase(InstanceNorm(), EVEN, shift=1000.0),
    "group_norm/plain": LayerCase(GroupNorm(groups=2), NARROW),
    "group_norm/three": LayerCase(GroupNorm(groups=3, eps=1e-3), NARROW, batch=3),
    "group_norm/one": LayerCase(GroupNorm(groups=1), EVEN),
    "group_norm/each": LayerCase(GroupNorm(groups=4, affine=False), EVEN),
    "group_norm/1d": LayerCase(GroupNorm(groups=2), ((4, 9),)),
    "group_norm/3d": LayerCase(GroupNorm(groups=2, eps=1e-6), ((4, 2, 3, 5),)),
    "group_norm/row": LayerCase(GroupNorm(groups=2), ROW, batch=3),
    "group_norm/large_mean": LayerCase(GroupNorm(groups=2), NARROW, shift=1000.0),
    "mean_variance_norm/onnx": LayerCase(MeanVarianceNorm(), EVEN),
    "mean_variance_norm/caffe": LayerCase(MeanVarianceNorm(axes=(2, 3)), EVEN),
    "mean_variance_norm/eps_outside": LayerCase(MeanVarianceNorm(eps=0.1), EVEN),
    "mean_variance_norm/eps_inside": LayerCase(MeanVarianceNorm(eps=0.1, eps_place="inside"), EVEN),
    "mean_variance_norm/1d": LayerCase(MeanVarianceNorm(axes=(0, -1)), ((3, 7),), batch=4),
    "mean_variance_norm/large_mean": LayerCase(MeanVarianceNorm(), EVEN, shift=1000.0),
}
