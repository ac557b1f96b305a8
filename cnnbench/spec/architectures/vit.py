"""Vision transformers (Dosovitskiy et al. 2020): an image as a sequence of patches."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.composites.attention import MultiHeadAttention
from cnnbench.spec.composites.embedding import ClassToken, LearnedPositions, PatchEmbedding
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Dropout, Linear, Shape
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.shape import Squeeze
from cnnbench.spec.layers.smooth import GELU
from cnnbench.spec.layers.standardization import LayerNorm

EPS = 1e-6  # of the norms, in the authors' code and torchvision


class _Variant(NamedTuple):
    """A row of table 1 with a patch size, and its published counts at 224 with 1,000 classes."""

    name: str
    patch_size: int
    layers: int
    hidden: int
    mlp: int
    heads: int
    parameters: int
    macs: int


# Parameters: torchvision's checkpoints. MACs of linear layers and the patches' convolution; attention's products
# come on top (torchvision's published 17.564, 4.409, 61.555 G count them).
VARIANTS = (
    _Variant("vit_b_16", 16, 12, 768, 3072, 12, 86_567_656, 16_848_500_736),
    _Variant("vit_b_32", 32, 12, 768, 3072, 12, 88_224_232, 4_363_106_304),
    _Variant("vit_l_16", 16, 24, 1024, 4096, 16, 304_326_632, 59_647_172_608),
)


def build_vit(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``, in the order of torchvision's checkpoints.

    Shapes:
        image (N, C, H, W) with H and W divisible by the patch -> logits (N, num_classes).
    """
    b = Builder(variant.name)
    x = b.input("image", image)
    x = b.add("patches", PatchEmbedding(embed_dim=variant.hidden, patch_size=variant.patch_size), x)
    x = b.add("class_token", ClassToken(), x)
    x = b.add("pos_embedding", LearnedPositions(), x)
    for number in range(variant.layers):
        with b.scope(f"encoder_layer_{number}"):
            x = encoder_block(b, x, variant.heads, variant.mlp)
    x = b.add("ln", LayerNorm(eps=EPS), x)
    return b.build({"logits": b.add("head", Linear(out_features=num_classes), first_token(b, x))})


def encoder_block(b: Builder, x: Value, heads: int, mlp: int) -> Value:
    """Attention and a two-layer perceptron, each after a norm and beside a shortcut (equations 2, 3).

    Args:
        b: Where the nodes go.
        x: (N, T, E), which the result keeps.
        heads: The number of attention heads, a divisor of the features.
        mlp: Features inside the perceptron.
    """
    y = b.add("ln_1", LayerNorm(eps=EPS), x)
    y = b.add("self_attention", MultiHeadAttention(num_heads=heads), y)
    x = b.add("add_1", Add(), x, y)
    y = perceptron(b, b.add("ln_2", LayerNorm(eps=EPS), x), mlp)
    return b.add("add_2", Add(), x, y)


def perceptron(b: Builder, x: Value, hidden: int, *, dropout: float = 0.0) -> Value:
    """Linear, GELU, linear over the last axis. Shapes: (..., E) -> (..., E).

    Args:
        b: Where the nodes go.
        x: (..., E).
        hidden: Features between the two linear layers.
        dropout: The probability of dropout after the activation.
    """
    features = x.shape[-1]
    y = b.add("mlp.0", Linear(out_features=hidden), x)
    y = b.add("mlp.1", GELU(), y)
    if dropout:
        y = b.add("mlp.2", Dropout(p=dropout), y)
    return b.add("mlp.3", Linear(out_features=features), y)


def first_token(b: Builder, x: Value) -> Value:
    """(N, T, E) -> (N, E): the class token's state."""
    x = b.add("first", Slice(starts=(0,), ends=(1,)), x)
    return b.add("token", Squeeze(axes=(1,)), x)


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="vit",
        year=2020,
        source="arXiv:2010.11929, table 1, as torchvision",
        build=partial(build_vit, variant),
        facts=Facts(parameters=variant.parameters, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
