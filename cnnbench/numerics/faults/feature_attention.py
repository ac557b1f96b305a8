"""Faults of attention over channels and positions: gates and orders of products."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.composites.feature_attention import SpatialAttentionBlock, SqueezeExcitation
from cnnbench.spec.layers.linear import MatMul

_IMAGE = SuspectNetwork((4, 5, 6))


def _untransposed(layer: MatMul) -> MatMul:
    return layer if layer.transpose_a else replace(layer, transpose_b=False)


FAULTS = (
    Fault(
        "spatial_attention_block.transposed",
        "matmul",
        "values summed over queries and not over keys, the matrix of weights being square",
        surrounded(SpatialAttentionBlock(groups=2), _IMAGE),
        node="suspect.weighted",
        operation=other_layer(_untransposed),
    ),
    Fault(
        "squeeze_excitation.hard_gate",
        "squeeze_excitation",
        "MobileNetV3's hard sigmoid where SENet and EfficientNet have the sigmoid",
        surrounded(SqueezeExcitation(squeeze_channels=3), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, gate="hard_sigmoid")),
    ),
    Fault(
        "squeeze_excitation.relu",
        "squeeze_excitation",
        "ReLU in the hidden layer where EfficientNet has SiLU",
        surrounded(SqueezeExcitation(squeeze_channels=3, activation="silu"), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, activation="relu")),
    ),
)
