"""SqueezeNet (Iandola et al. 2016): fire modules, which squeeze with 1x1 and expand with 1x1 and 3x3 convolutions."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Concat, Conv, Dropout, GlobalAvgPool, MaxPool, ReLU, Shape


class Fire(NamedTuple):
    """A row of table 1: its number in torchvision's ``features``, and the widths of squeeze and each expand half."""

    place: int
    squeeze: int
    expand: int


class _Variant(NamedTuple):
    """A registered network: its first convolution, its fire modules, where it pools, and what its sources say."""

    name: str
    channels: int
    kernel_size: int
    fires: tuple[Fire, ...]
    pools: tuple[int, ...]
    parameters: int
    macs: int
    source: str


_WIDTHS = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def _fires(*places: int) -> tuple[Fire, ...]:
    return tuple(Fire(place, *widths) for place, widths in zip(places, _WIDTHS, strict=True))


# Parameters: torchvision's published checkpoints. MACs: summed from the tables; torchvision publishes 0.819, 0.349 G.
VARIANTS = (
    _Variant(
        "squeezenet1_0",
        96,
        7,
        _fires(3, 4, 5, 7, 8, 9, 10, 12),
        (2, 6, 11),
        1_248_424,
        818_924_576,
        "arXiv:1602.07360, table 1",
    ),
    _Variant(
        "squeezenet1_1",
        64,
        3,
        _fires(3, 4, 6, 7, 9, 10, 11, 12),
        (2, 5, 8),
        1_235_496,
        349_151_936,
        "github.com/forresti/SqueezeNet, SqueezeNet_v1.1: 2.4 times less computation than 1.0",
    ),
)


def build_squeezenet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network of ``variant``, its nodes named as torchvision's; pooling rounds up as Caffe's does."""
    b = Builder(variant.name)
    x = b.input("image", image)
    with b.scope("features"):
        x = b.add("0", Conv(out_channels=variant.channels, kernel_size=variant.kernel_size, stride=2), x)
        x = b.add("1", ReLU(), x)
        fires = {fire.place: fire for fire in variant.fires}
        for place in sorted((*fires, *variant.pools)):
            if place in fires:
                x = fire_module(b, x, fires[place])
            else:
                x = b.add(str(place), MaxPool(kernel_size=3, stride=2, ceil_mode=True), x)
    x = b.stack("classifier", [Dropout(p=0.5), Conv(out_channels=num_classes, kernel_size=1), ReLU()], x)
    return b.build({"logits": b.add("classifier.3", GlobalAvgPool(), x)})


def fire_module(b: Builder, x: Value, fire: Fire) -> Value:
    """Squeeze, then both halves of expand side by side (figure 1). Shapes: (N, C, H, W) -> (N, 2 expand, H, W).

    Args:
        b: Where the nodes go.
        x: (N, C, H, W).
        fire: The widths of squeeze and of each half of expand, and the place among the features.
    """
    with b.scope(str(fire.place)):
        x = b.add("squeeze", Conv(out_channels=fire.squeeze, kernel_size=1), x)
        x = b.add("squeeze_activation", ReLU(), x)
        one = b.add("expand1x1", Conv(out_channels=fire.expand, kernel_size=1), x)
        three = b.add("expand3x3", Conv(out_channels=fire.expand, kernel_size=3, padding=1), x)
        one = b.add("expand1x1_activation", ReLU(), one)
        three = b.add("expand3x3_activation", ReLU(), three)
        return b.add("concat", Concat(), one, three)


ARCHITECTURES = tuple(
    Architecture(
        name=variant.name,
        family="squeezenet",
        year=2016,
        source=variant.source,
        build=partial(build_squeezenet, variant),
        facts=Facts(parameters=variant.parameters, buffers=0, macs=variant.macs, input=(3, 224, 224)),
        num_classes=1000,
    )
    for variant in VARIANTS
)
