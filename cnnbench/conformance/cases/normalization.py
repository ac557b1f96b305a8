"""Normalisation: cases shared by all backends."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.layers import BatchNorm, ChannelAffine, Shape
from cnnbench.spec.layers.normalization import FrozenBatchNorm


def _one_value_mostly(generator: Any, shape: Shape) -> Any:
    """What a trained network makes of a picture's even background: seven of eight positions hold the same value."""
    values = generator.normal(size=shape)
    return values * (generator.random(shape) < 0.125) + 0.0716131


def _bright_edge(generator: Any, shape: Shape) -> Any:
    """A filter's answer to padding: one row far from the others, whose small squares a long sum loses."""
    values = 0.02 * generator.normal(size=shape) + 0.2
    values[..., 0, :] = 5 + generator.normal(size=shape[-1])
    return values


CASES = {
    "batch_norm/bright_edge": LayerCase(BatchNorm(), ((2, 96, 128),), batch=3, draws=(_bright_edge,)),
    "batch_norm/repeated_value": LayerCase(BatchNorm(), ((2, 96, 128),), batch=3, draws=(_one_value_mostly,)),
    "batch_norm/plain": LayerCase(BatchNorm(), EVEN),
    "batch_norm/flat": LayerCase(BatchNorm(), ROW, batch=8),
    "batch_norm/biased": LayerCase(BatchNorm(running_variance="biased", momentum=0.01, eps=1e-3), EVEN),
    "batch_norm/no_affine": LayerCase(BatchNorm(affine=False), EVEN),
    "batch_norm/large_mean": LayerCase(BatchNorm(), EVEN, shift=300.0),
    "batch_norm/small_variance": LayerCase(BatchNorm(), EVEN, scale=0.01),
    "batch_norm/1d": LayerCase(BatchNorm(), ((5, 7),), batch=3),
    "batch_norm/3d": LayerCase(BatchNorm(eps=1e-3), ((3, 2, 4, 5),)),
    "batch_norm/batch_of_one": LayerCase(BatchNorm(), EVEN, batch=1),
    "batch_norm/biased_of_one_value": LayerCase(BatchNorm(running_variance="biased"), ((5,),), batch=1),
    "batch_norm/keras": LayerCase(BatchNorm(eps=1e-3, momentum=0.01, running_variance="biased"), ((5, 7),), batch=3),
    "batch_norm/cumulative": LayerCase(BatchNorm(momentum=1.0), EVEN),
    "batch_norm/still": LayerCase(BatchNorm(momentum=0.0), EVEN),
    "frozen_batch_norm/plain": LayerCase(FrozenBatchNorm(), EVEN),
    "frozen_batch_norm/no_eps": LayerCase(FrozenBatchNorm(eps=0.0), ((3, 5),)),
    "frozen_batch_norm/row": LayerCase(FrozenBatchNorm(eps=1e-3), ROW, shift=3.0),
    "channel_affine/plain": LayerCase(ChannelAffine(), EVEN),
}
