"""Swin transformers (Liu et al. 2021): attention within windows that shift from layer to layer."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.architectures.vit import perceptron
from cnnbench.spec.composites.embedding import PatchEmbedding
from cnnbench.spec.composites.window_attention import WindowAttention
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Concat, GlobalAvgPool, Linear, Pad, Shape
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.regularization import StochasticDepth
from cnnbench.spec.layers.shape import Transpose
from cnnbench.spec.layers.standardization import LayerNorm

PATCH, WINDOW, MLP_RATIO = 4, 7, 4
QUARTERS = ((0, 0), (1, 0), (0, 1), (1, 1))  # (row, column) of a 2x2 neighbourhood in the order of merging


class _Variant(NamedTuple):
    """Swin-T, S or B of section 3.3: width, layers and heads a stage, stochastic depth, and published counts."""

    name: str
    width: int
    layers: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    stochastic_depth: float
    parameters: int
    macs: int


# Parameters: torchvision's checkpoints. MACs of linear layers and the patches' convolution; attention's products come
# on top (torchvision's published 4.491, 8.741, 15.431 G count them).
VARIANTS = (
    _Variant("swin_t", 96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2, 28_288_354, 4_350_425_088),
    _Variant("swin_s", 96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3, 49_606_258, 8_512_223_232),
    _Variant("swin_b", 128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5, 87_768_224, 15_126_077_440),
)


def build_swin(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``, its nodes named as torchvision's; features are the last axis until the head.

    Shapes:
        image (N, C, H, W) with H and W divisible by 4 -> logits (N, num_classes).
    """
    b = Builder(variant.name)
    x = b.input("image", image)
    total, done = sum(variant.layers), 0
    with b.scope("features"):
        x = b.add("0.0", PatchEmbedding(embed_dim=variant.width, patch_size=PATCH, arrangement="grid"), x)
        x = b.add("0.2", LayerNorm(), x)
        for stage, (layers, heads) in enumerate(zip(variant.layers, variant.heads, strict=True)):
            for index in range(layers):
                with b.scope(f"{2 * stage + 1}.{index}"):
                    drop = variant.stochastic_depth * done / (total - 1)
                    x = swin_block(b, x, heads, WINDOW // 2 if index % 2 else 0, drop)
                done += 1
            if stage < len(variant.layers) - 1:
                with b.scope(str(2 * stage + 2)):
                    x = merge_patches(b, x)
    x = b.add("norm", LayerNorm(), x)
    x = b.add("permute", Transpose(permutation=(0, 3, 1, 2)), x)
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.add("head", Linear(out_features=num_classes), x)})


def swin_block(b: Builder, x: Value, heads: int, shift: int, drop: float) -> Value:
    """Attention within windows and a perceptron, each after a norm and beside a shortcut (equation 3).

    Args:
        b: Where the nodes go.
        x: (N, H, W, C), which the result keeps.
        heads: The number of attention heads, a divisor of the features.
        shift: Of the windows, in positions; 0 for none.
        drop: The probability with which either branch is dropped in training.
    """
    y = b.add("norm1", LayerNorm(), x)
    y = b.add("attn", WindowAttention(num_heads=heads, window_size=WINDOW, shift=shift), y)
    x = _joined(b, x, y, drop, "1")
    y = perceptron(b, b.add("norm2", LayerNorm(), x), MLP_RATIO * x.shape[-1])
    return _joined(b, x, y, drop, "2")


def _joined(b: Builder, x: Value, y: Value, drop: float, number: str) -> Value:
    if drop:
        y = b.add(f"stochastic_depth{number}", StochasticDepth(p=drop), y)
    return b.add(f"add{number}", Add(), x, y)


def merge_patches(b: Builder, x: Value) -> Value:
    """Four neighbours' features as one, projected to half. Shapes: (N, H, W, E) -> (N, H/2, W/2, 2 E)."""
    height, width, features = x.shape[1:]
    if height % 2 or width % 2:
        x = b.add("pad", Pad(padding=((0, height % 2), (0, width % 2), (0, 0))), x)
    ends = x.shape[1:3]
    parts = [
        b.add(f"part{number}", Slice(starts=start, ends=ends, steps=(2, 2)), x) for number, start in enumerate(QUARTERS)
    ]
    x = b.add("concat", Concat(axis=3), *parts)
    x = b.add("norm", LayerNorm(), x)
    return b.add("reduction", Linear(out_features=2 * features, bias=False), x)


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="swin",
        year=2021,
        source="arXiv:2103.14030, section 3.3 and table 7, as torchvision",
        build=partial(build_swin, variant),
        facts=Facts(parameters=variant.parameters, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
