"""Attention over feature maps: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.composites.feature_attention import SpatialAttentionBlock, SqueezeExcitation

CASES = {
    "squeeze_excitation/relu_sigmoid": LayerCase(SqueezeExcitation(squeeze_channels=3), EVEN),
    "squeeze_excitation/mobilenet": LayerCase(SqueezeExcitation(squeeze_channels=3, gate="hard_sigmoid"), EVEN),
    "squeeze_excitation/efficientnet": LayerCase(SqueezeExcitation(squeeze_channels=1, activation="silu"), EVEN),
    "squeeze_excitation/nfnet": LayerCase(SqueezeExcitation(squeeze_channels=2, scale=2.0), EVEN, batch=1),
    "squeeze_excitation/relu6": LayerCase(SqueezeExcitation(squeeze_channels=5, activation="relu6"), ((3, 7),)),
    "squeeze_excitation/hard_swish": LayerCase(
        SqueezeExcitation(squeeze_channels=5, activation="hard_swish", bias=False), ((3, 2, 3, 4),)
    ),
    "squeeze_excitation/gelu": LayerCase(SqueezeExcitation(squeeze_channels=2, activation="gelu"), EVEN),
    "spatial_attention_block/plain": LayerCase(SpatialAttentionBlock(groups=2), ((4, 3, 5),)),
    "spatial_attention_block/row": LayerCase(SpatialAttentionBlock(groups=1, eps=1e-5), ((4, 6),), batch=1),
}
