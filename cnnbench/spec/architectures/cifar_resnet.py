"""ResNet and plain networks for 32x32 images (He et al. 2015, section 4.2): 6 n + 2 layers of 16, 32, 64 channels."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.architectures.resnet import projection_shortcut
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, BatchNorm, Conv, GlobalAvgPool, Linear, Pad, ReLU, Shape, Subsample

Shortcut = Literal["A", "B"]


class _Stage(NamedTuple):
    """A column of the table in section 4.2: output map size, filters; each stage has 2 n layers, the first one more."""

    output_size: int
    filters: int


STAGES = (_Stage(32, 16), _Stage(16, 32), _Stage(8, 64))


class _Variant(NamedTuple):
    """A registered network and what follows from section 4.2 for 32x32 images of 10 classes.

    ``shortcut`` is A (subsample, then pad with zero channels), B (1x1 convolution and batch norm) or None.
    """

    name: str
    depth: int
    shortcut: Shortcut | None
    parameters: int
    buffers: int
    macs: int


# Parameters round to table 6 (0.27, 0.46, 0.66, 0.85, 1.7 M). A plain network has those of its twin with option A,
# whose shortcuts have none.
VARIANTS = (
    _Variant("resnet20", 20, "A", 269_722, 1_376, 40_551_040),
    _Variant("resnet32", 32, "A", 464_154, 2_272, 68_862_592),
    _Variant("resnet44", 44, "A", 658_586, 3_168, 97_174_144),
    _Variant("resnet56", 56, "A", 853_018, 4_064, 125_485_696),
    _Variant("resnet110", 110, "A", 1_727_962, 8_096, 252_887_680),
    _Variant("resnet20_b", 20, "B", 272_474, 1_568, 40_813_184),
    _Variant("plain20", 20, None, 269_722, 1_376, 40_551_040),
    _Variant("plain32", 32, None, 464_154, 2_272, 68_862_592),
    _Variant("plain44", 44, None, 658_586, 3_168, 97_174_144),
    _Variant("plain56", 56, None, 853_018, 4_064, 125_485_696),
    _Variant("plain110", 110, None, 1_727_962, 8_096, 252_887_680),
)


def build_cifar_resnet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``; a plain one is the same without its shortcuts and additions."""
    b = Builder(variant.name)
    x = b.input("image", image)
    x = b.add("conv1", _conv(STAGES[0].filters, 1), x)
    x = b.add("bn1", BatchNorm(), x)
    x = b.add("relu", ReLU(), x)
    for number, stage in enumerate(STAGES, start=1):
        for index in range((variant.depth - 2) // 6):
            stride = 2 if index == 0 and number > 1 else 1
            with b.scope(f"layer{number}.{index}"):
                x = _block(b, x, stage.filters, stride, variant.shortcut)
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), x)})


def _block(b: Builder, x: Value, filters: int, stride: int, shortcut: Shortcut | None) -> Value:
    y = b.add("bn1", BatchNorm(), b.add("conv1", _conv(filters, stride), x))
    y = b.add("relu1", ReLU(), y)
    y = b.add("bn2", BatchNorm(), b.add("conv2", _conv(filters, 1), y))
    if shortcut == "A":
        y = b.add("add", Add(), y, padding_shortcut(b, x, filters, stride))
    elif shortcut == "B":
        y = b.add("add", Add(), y, projection_shortcut(b, x, filters, stride))
    return b.add("relu2", ReLU(), y)


def padding_shortcut(b: Builder, x: Value, channels: int, stride: int) -> Value:
    """Option A: the identity, or every ``stride``-th position with zero channels added at the end (section 3.3).

    The paper does not say where the zeros stand; they follow the channels, as in Facebook's fb.resnet.torch.

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        channels: Of the result.
        stride: Of the block, along each axis.
    """
    if stride == 1 and x.channels == channels:
        return x
    with b.scope("shortcut"):
        x = b.add("subsample", Subsample(stride=stride), x)
        spatial = ((0, 0),) * (len(x.shape) - 2)
        return b.add("pad", Pad(padding=((0, channels - x.channels), *spatial)), x)


def _conv(filters: int, stride: int) -> Conv:
    return Conv(out_channels=filters, kernel_size=3, stride=stride, padding=1, bias=False)


_SOURCES = {
    "A": "arXiv:1512.03385, section 4.2 with shortcuts of option A",
    "B": "arXiv:1512.03385, section 4.2 with shortcuts of option B",
    None: "arXiv:1512.03385, section 4.2, plain",
}

ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="resnet",
        year=2015,
        source=_SOURCES[variant.shortcut],
        build=partial(build_cifar_resnet, variant),
        facts=Facts(parameters=variant.parameters, buffers=variant.buffers, macs=variant.macs, input=(3, 32, 32)),
        num_classes=10,
    )
    for variant in VARIANTS
)
