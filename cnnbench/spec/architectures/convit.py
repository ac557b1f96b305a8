"""ConViT (d'Ascoli et al. 2021): a vision transformer whose early attention may start as convolution."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.architectures.vit import first_token, perceptron
from cnnbench.spec.composites.attention import MultiHeadAttention
from cnnbench.spec.composites.embedding import ClassToken, LearnedPositions, PatchEmbedding
from cnnbench.spec.composites.positional_attention import GatedPositionalSelfAttention
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Layer, Linear, Shape
from cnnbench.spec.layers.standardization import LayerNorm

PATCH, LAYERS, GATED, MLP_RATIO, EPS = 16, 12, 10, 4, 1e-6


class _Variant(NamedTuple):
    """A row of table 1: its heads, its width, and its published counts at 224 with 1,000 classes."""

    name: str
    heads: int
    width: int
    parameters: int
    macs: int


VARIANTS = (
    _Variant("convit_tiny", 4, 192, 5_710_512, 1_075_037_568),
    _Variant("convit_small", 9, 432, 27_777_322, 5_347_587_168),
    _Variant("convit_base", 16, 768, 86_540_040, 16_796_161_536),
)


def build_convit(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``: ten gated layers, then the class token and two plain ones.

    Shapes:
        image (N, C, H, W) with H and W divisible by 16 -> logits (N, num_classes).
    """
    b = Builder(variant.name)
    x = b.input("image", image)
    x = b.add("patch_embed", PatchEmbedding(embed_dim=variant.width, patch_size=PATCH), x)
    x = b.add("pos_embed", LearnedPositions(), x)
    size = (image[1] // PATCH, image[2] // PATCH)
    gated = GatedPositionalSelfAttention(num_heads=variant.heads, size=size)
    plain = MultiHeadAttention(num_heads=variant.heads, qkv_bias=False)
    for number in range(LAYERS):
        if number == GATED:
            x = b.add("cls_token", ClassToken(), x)
        with b.scope(f"blocks.{number}"):
            x = block(b, x, gated if number < GATED else plain)
    x = b.add("norm", LayerNorm(eps=EPS), x)
    return b.build({"logits": b.add("head", Linear(out_features=num_classes), first_token(b, x))})


def block(b: Builder, x: Value, attention: Layer) -> Value:
    """Attention and a perceptron, each after a norm and beside a shortcut.

    Args:
        b: Where the nodes go.
        x: (N, T, E), which the result keeps.
        attention: The layer, plain or gated.
    """
    y = b.add("attn", attention, b.add("norm1", LayerNorm(eps=EPS), x))
    x = b.add("add1", Add(), x, y)
    y = perceptron(b, b.add("norm2", LayerNorm(eps=EPS), x), MLP_RATIO * x.shape[-1])
    return b.add("add2", Add(), x, y)


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="convit",
        year=2021,
        source="arXiv:2103.10697, table 1, as the authors' release and timm",
        build=partial(build_convit, variant),
        facts=Facts(parameters=variant.parameters, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
