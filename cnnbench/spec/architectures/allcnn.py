"""The all-convolutional net (Springenberg et al. 2014): strided convolutions in place of pooling, no linear layer."""

from __future__ import annotations

from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv, Dropout, GlobalAvgPool, ReLU, Shape


class _Row(NamedTuple):
    """A row of tables 1 and 2: a convolution with ReLU."""

    kernel_size: int
    width: int | None
    stride: int = 1
    padding: int = 1
    dropout: float = 0.0


# Column All-CNN-C. The paper does not state the padding; with padded 3x3 convolutions but for the last one the maps
# are 32, 16, 8 and 6 wide, as in table 1 and in the authors' configuration. Dropout: section 3.2.1.
ALL_CNN_C = (
    _Row(3, 96),
    _Row(3, 96),
    _Row(3, 96, stride=2, dropout=0.5),
    _Row(3, 192),
    _Row(3, 192),
    _Row(3, 192, stride=2, dropout=0.5),
    _Row(3, 192, padding=0),
    _Row(1, 192, padding=0),
    _Row(1, None, padding=0),  # as many maps as classes
)


def build_allcnn_c(image: Shape, num_classes: int) -> Graph:
    """All-CNN-C.

    Shapes:
        image (N, 3, 32, 32) -> logits (N, num_classes).
    """
    b = Builder("allcnn_c")
    x = b.add("dropout0", Dropout(p=0.2), b.input("image", image))
    for number, row in enumerate(ALL_CNN_C, start=1):
        conv = Conv(
            out_channels=row.width or num_classes,
            kernel_size=row.kernel_size,
            stride=row.stride,
            padding=row.padding,
        )
        x = b.add(f"relu{number}", ReLU(), b.add(f"conv{number}", conv, x))
        if row.dropout:
            x = b.add(f"dropout{number}", Dropout(p=row.dropout), x)
    return b.build({"logits": b.add("avgpool", GlobalAvgPool(), x)})


ARCHITECTURES = (
    Architecture(
        name="allcnn_c",
        family="allcnn",
        year=2014,
        source="arXiv:1412.6806, tables 1 and 2, All-CNN-C (1.4 M parameters, table 3)",
        build=build_allcnn_c,
        facts=Facts(parameters=1_369_738, buffers=0, macs=270_798_336, input=(3, 32, 32)),
        num_classes=10,
    ),
)
