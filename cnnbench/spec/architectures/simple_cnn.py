"""A small teaching network in both orders of its layers: the norm before the activation, or after the dropout."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import BatchNorm, Conv, Dropout, GlobalAvgPool, Layer, Linear, MaxPool, ReLU, Shape

Order = Literal["conv-norm-relu-dropout", "conv-relu-dropout-norm"]


class _Stage(NamedTuple):
    """One 3x3 convolution with its companions, and whether a 2x2 max pooling follows."""

    channels: int
    dropout: float
    pool: bool


STAGES = (_Stage(32, 0.1, True), _Stage(64, 0.1, True), _Stage(128, 0.2, False))


def build_simple_cnn(name: str, order: Order, image: Shape, num_classes: int) -> Graph:
    """Three stages, global average pooling and a linear classifier.

    The norm last means that dropout's noise enters the batch's statistics in training and is absent at inference
    (Li et al., "Understanding the disharmony between dropout and batch normalization" (2018)); the two orders are
    there to be compared.

    Args:
        name: What the graph is called.
        order: Of the layers after each convolution.
        image: The shape of one image, (C, H, W).
        num_classes: The number of logits.

    Shapes:
        image (N, C, H, W) -> logits (N, num_classes).
    """
    b = Builder(name)
    x = b.input("image", image)
    for number, stage in enumerate(STAGES, start=1):
        with b.scope(f"stage{number}"):
            x = b.add("conv", Conv(out_channels=stage.channels, kernel_size=3, padding=1), x)
            for part, layer in _companions(order, stage.dropout):
                x = b.add(part, layer, x)
            if stage.pool:
                x = b.add("pool", MaxPool(kernel_size=2), x)
    x = b.add("avgpool", GlobalAvgPool(), x)
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), x)})


def _companions(order: Order, dropout: float) -> tuple[tuple[str, Layer], ...]:
    norm, relu, drop = ("bn", BatchNorm()), ("relu", ReLU()), ("dropout", Dropout(p=dropout))
    return (norm, relu, drop) if order == "conv-norm-relu-dropout" else (relu, drop, norm)


_ORDERS: tuple[tuple[str, Order], ...] = (
    ("simple_cnn", "conv-norm-relu-dropout"),
    ("simple_cnn_norm_last", "conv-relu-dropout-norm"),
)

ARCHITECTURES = tuple(
    Architecture(
        name=name,
        family="simple_cnn",
        year=2015,
        source=f"cnnbench's own, {order}",
        build=partial(build_simple_cnn, name, order),
        # Parameters 896 + 18,496 + 73,856 (convolutions), 448 (norms), 1,290. MACs: 32^2 32 27 + 16^2 64 288 +
        # 8^2 128 576 + 128 10.
        facts=Facts(parameters=94_986, buffers=448, macs=10_323_200, input=(3, 32, 32)),
        num_classes=10,
    )
    for name, order in _ORDERS
)
