"""NFNets (Brock et al. 2021): deep residual networks without normalisation, held by scaled weight standardisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.composites.feature_attention import SqueezeExcitation
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, AvgPool, Dropout, GlobalAvgPool, Linear, Shape
from cnnbench.spec.layers.arithmetic import Affine, Parameter
from cnnbench.spec.layers.merge import Multiply
from cnnbench.spec.layers.regularization import StochasticDepth
from cnnbench.spec.layers.smooth import GELU
from cnnbench.spec.layers.weight_standardization import ScaledWSConv


class _Stage(NamedTuple):
    """A column of table 1 for F0: blocks and width of a stage."""

    blocks: int
    width: int


F0 = (_Stage(1, 256), _Stage(2, 512), _Stage(6, 1536), _Stage(3, 1536))
STEM = ((16, 2), (32, 1), (64, 1), (128, 2))  # width and stride of its 3x3 convolutions
GROUP_WIDTH, BOTTLENECK, ALPHA, HEAD = 128, 0.5, 0.2, 3072
GAIN = 1.7015043497085571  # 1 / std of GELU of a normal variable: activations keep the variance
LAST_DEPTH, DROPOUT = 0.25, 0.2


@dataclass(frozen=True)
class Scales:
    """beta of a block: 1 / sqrt of the variance expected of what comes in; and its stochastic depth."""

    beta: float
    drop: float


def build_nfnet_f0(image: Shape, num_classes: int) -> Graph:
    """NFNet-F0 (figure 5 and table 1).

    Shapes:
        image (N, 3, 256, 256) -> logits (N, num_classes).
    """
    b = Builder("nfnet_f0")
    x = b.input("image", image)
    with b.scope("stem"):
        for number, (width, stride) in enumerate(STEM, start=1):
            x = b.add(f"conv{number}", _conv(width, 3, stride=stride), x)
            if number < len(STEM):
                x = _activation(b, x, f"act{number}", 1.0)
    total, done = sum(stage.blocks for stage in F0), 0
    variance = 1.0
    for number, stage in enumerate(F0):
        for index in range(stage.blocks):
            first = index == 0
            scales = Scales(variance**-0.5, LAST_DEPTH * done / total)
            with b.scope(f"stages.{number}.{index}"):
                x = block(b, x, stage.width, 2 if first and number else 1, scales)
            variance = (1.0 if first else variance) + ALPHA**2  # a stage's first block starts from a normalised signal
            done += 1
    x = b.add("final_conv", _conv(HEAD, 1), x)
    x = _activation(b, x, "final_act", 1.0)
    x = b.add("avgpool", GlobalAvgPool(), x)
    x = b.add("dropout", Dropout(p=DROPOUT), x)
    return b.build({"logits": b.add("head", Linear(out_features=num_classes), x)})


def block(b: Builder, x: Value, width: int, stride: int, scales: Scales) -> Value:
    """1x1, two grouped 3x3, 1x1, gate, beside a shortcut. Shapes: (N, C, H, W) -> (N, width, H/s, W/s).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        width: Channels of the result.
        stride: s, of the first 3x3.
        scales: Its beta and its stochastic depth.
    """
    inner = int(width * BOTTLENECK)
    groups = inner // GROUP_WIDTH
    y = _activation(b, x, "act1", scales.beta)
    shortcut = x
    if stride > 1 or x.channels != width:
        shortcut = y
        if stride > 1:
            pool = AvgPool(kernel_size=2, stride=2, ceil_mode=True, count_include_pad=False)
            shortcut = b.add("downsample.pool", pool, shortcut)
        shortcut = b.add("downsample.conv", _conv(width, 1), shortcut)
    y = _activation(b, b.add("conv1", _conv(inner, 1), y), "act2", 1.0)
    y = _activation(b, b.add("conv2", _conv(inner, 3, stride=stride, groups=groups), y), "act2b", 1.0)
    y = _activation(b, b.add("conv2b", _conv(inner, 3, groups=groups), y), "act3", 1.0)
    y = b.add("conv3", _conv(width, 1), y)
    y = b.add("attn_last", SqueezeExcitation(squeeze_channels=width // 2, scale=2.0), y)
    if scales.drop:
        y = b.add("stochastic_depth", StochasticDepth(p=scales.drop), y)
    y = b.add("skipinit", Multiply(), y, b.add("skipinit_gain", Parameter(shape=(1, 1, 1, 1))))
    y = b.add("alpha", Affine(scale=ALPHA), y)
    return b.add("add", Add(), y, shortcut)


def _conv(width: int, kernel_size: int, *, stride: int = 1, groups: int = 1) -> ScaledWSConv:
    return ScaledWSConv(out_channels=width, kernel_size=kernel_size, stride=stride, padding="same", groups=groups)


def _activation(b: Builder, x: Value, name: str, beta: float) -> Value:
    """GELU times its gain and beta."""
    return b.add(f"{name}_gain", Affine(scale=GAIN * beta), b.add(name, GELU(), x))


ARCHITECTURES = (
    Architecture(
        name="nfnet_f0",
        family="nfnet",
        year=2021,
        source="arXiv:2102.06171, table 1 and figure 5, as the authors' release",
        build=build_nfnet_f0,
        facts=Facts(parameters=71_489_284, macs=12_384_198_656, input=(3, 256, 256)),
        num_classes=1000,
    ),
)
