"""LeNet: the network of LeCun et al. 1998 as published, its plain modern form, and Caffe's."""

from __future__ import annotations

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.composites import TrainableSubsample
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv, Flatten, Linear, MaxPool, PartialConv, RadialBasis, ReLU, Shape, Tanh

# Table I: each row is an input map of S2, each column an output map of C3; an X is a connection.
C3_CONNECTIONS = (
    "X . . . X X X . . X X X X . X X",
    "X X . . . X X X . . X X X X . X",
    "X X X . . . X X X . . X . X X X",
    ". X X X . . X X X X . . X . X X",
    ". . X X X . . X X X X . X X . X",
    ". . . X X X . . X X X X . X X X",
)


def c3_connections() -> tuple[tuple[int, ...], ...]:
    """For each of C3's 16 maps, the maps of S2 that it sees: the columns of table I."""
    columns = zip(*(row.split() for row in C3_CONNECTIONS), strict=True)
    return tuple(tuple(i for i, mark in enumerate(column) if mark == "X") for column in columns)


def build_lenet5_1998(image: Shape, num_classes: int) -> Graph:
    """LeNet-5 as published (section II.B, figure 2), its nodes named as there.

    The squashing function is 1.7159 tanh(2/3 a) (appendix A); the output units are radial basis functions with
    fixed prototypes. The paper's outputs are distances, the smallest of which wins; their negatives are given, so
    that the largest wins as in any classifier. The paper trains with equation 9, to which cross-entropy on these
    logits is equal but for the constant term that stands for the class of rubbish.

    Shapes:
        image (N, 1, 32, 32) -> logits (N, num_classes).
    """
    squash = Tanh(input_scale=2 / 3, output_scale=1.7159)
    b = Builder("lenet5_1998")
    x = b.input("image", image)
    x = b.add("c1", Conv(out_channels=6, kernel_size=5), x)
    x = b.add("c1_tanh", squash, x)
    x = b.add("s2", TrainableSubsample(kernel_size=2), x)
    x = b.add("s2_tanh", squash, x)
    x = b.add("c3", PartialConv(connections=c3_connections(), kernel_size=5), x)
    x = b.add("c3_tanh", squash, x)
    x = b.add("s4", TrainableSubsample(kernel_size=2), x)
    x = b.add("s4_tanh", squash, x)
    x = b.add("c5", Conv(out_channels=120, kernel_size=5), x)
    x = b.add("c5_tanh", squash, x)
    x = b.add("flatten", Flatten(), x)
    x = b.add("f6", Linear(out_features=84), x)
    x = b.add("f6_tanh", squash, x)
    return b.build({"logits": b.add("output", RadialBasis(out_features=num_classes, output="logit"), x)})


def build_lenet5(image: Shape, num_classes: int) -> Graph:
    """The form that PyTorch's tutorial teaches: full connections, ReLU, max pooling, a linear output.

    Shapes:
        image (N, 1, 32, 32) -> logits (N, num_classes).
    """
    b = Builder("lenet5")
    x = b.input("image", image)
    x = b.add("conv1", Conv(out_channels=6, kernel_size=5), x)
    x = b.add("relu1", ReLU(), x)
    x = b.add("pool1", MaxPool(kernel_size=2), x)
    x = b.add("conv2", Conv(out_channels=16, kernel_size=5), x)
    x = b.add("relu2", ReLU(), x)
    x = b.add("pool2", MaxPool(kernel_size=2), x)
    x = b.add("flatten", Flatten(), x)
    x = b.add("fc1", Linear(out_features=120), x)
    x = b.add("relu3", ReLU(), x)
    x = b.add("fc2", Linear(out_features=84), x)
    x = b.add("relu4", ReLU(), x)
    return b.build({"logits": b.add("fc3", Linear(out_features=num_classes), x)})


def build_lenet_20_50_500(image: Shape, num_classes: int) -> Graph:
    """Caffe's LeNet, by the names of its prototxt: no activation between convolution and pooling; pooling rounds up.

    Shapes:
        image (N, 1, 28, 28) -> logits (N, num_classes).
    """
    b = Builder("lenet_20_50_500")
    x = b.input("image", image)
    x = b.add("conv1", Conv(out_channels=20, kernel_size=5), x)
    x = b.add("pool1", MaxPool(kernel_size=2, ceil_mode=True), x)
    x = b.add("conv2", Conv(out_channels=50, kernel_size=5), x)
    x = b.add("pool2", MaxPool(kernel_size=2, ceil_mode=True), x)
    x = b.add("flatten", Flatten(), x)
    x = b.add("ip1", Linear(out_features=500), x)
    x = b.add("relu1", ReLU(), x)
    return b.build({"logits": b.add("ip2", Linear(out_features=num_classes), x)})


ARCHITECTURES = (
    Architecture(
        name="lenet5_1998",
        family="lenet",
        year=1998,
        source="LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998, section II.B: 60,000 trainable parameters",
        build=build_lenet5_1998,
        # Section II.B: C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164. The 84 x 10 prototypes are fixed.
        # MACs: C1 28^2 6 25, C3 10^2 60 25 (60 connections), C5 120 16 25, F6 84 120, output 10 84.
        facts=Facts(parameters=60_000, buffers=840, macs=326_520, input=(1, 32, 32)),
        num_classes=10,
    ),
    Architecture(
        name="lenet5",
        family="lenet",
        year=1998,
        source="pytorch.org/tutorials, 'Neural networks' (6-16-120-84-10), after LeCun et al. 1998",
        build=build_lenet5,
        # Parameters 156 + 2,416 + 48,120 + 10,164 + 850. MACs: 28^2 6 25 + 10^2 16 150 + 400 120 + 120 84 + 84 10.
        facts=Facts(parameters=61_706, buffers=0, macs=416_520, input=(1, 32, 32)),
        num_classes=10,
    ),
    Architecture(
        name="lenet_20_50_500",
        family="lenet",
        year=2014,
        source="BVLC/caffe, examples/mnist/lenet.prototxt",
        build=build_lenet_20_50_500,
        # Parameters 520 + 25,050 + 400,500 + 5,010. MACs: 24^2 20 25 + 8^2 50 500 + 800 500 + 500 10.
        facts=Facts(parameters=431_080, buffers=0, macs=2_293_000, input=(1, 28, 28)),
        num_classes=10,
    ),
)
