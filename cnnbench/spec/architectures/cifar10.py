"""The small convolutional nets for CIFAR-10 of the AlexNet era, as Caffe ships them."""

from __future__ import annotations

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.composites.magnitude import WithinChannelResponseNorm
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import AvgPool, Conv, Flatten, Linear, MaxPool, ReLU, Shape

# Caffe's pooling rounds up, and a window that hangs over the edge averages what it sees.
_MAX = MaxPool(kernel_size=3, stride=2, ceil_mode=True)
_AVERAGE = AvgPool(kernel_size=3, stride=2, ceil_mode=True)


def build_cifar10_quick(image: Shape, num_classes: int) -> Graph:
    """Three 5x5 convolutions, the first pooled before its ReLU, and two linear layers; named as in the prototxt.

    Shapes:
        image (N, 3, 32, 32) -> logits (N, num_classes).
    """
    b = Builder("cifar10_quick")
    x = b.add("conv1", Conv(out_channels=32, kernel_size=5, padding=2), b.input("image", image))
    x = b.add("relu1", ReLU(), b.add("pool1", _MAX, x))
    for number, width in ((2, 32), (3, 64)):
        x = b.add(f"conv{number}", Conv(out_channels=width, kernel_size=5, padding=2), x)
        x = b.add(f"pool{number}", _AVERAGE, b.add(f"relu{number}", ReLU(), x))
    x = b.add("ip1", Linear(out_features=64), b.add("flatten", Flatten(), x))
    return b.build({"logits": b.add("ip2", Linear(out_features=num_classes), x)})


def build_cifar10_full(image: Shape, num_classes: int) -> Graph:
    """The same convolutions with response normalisation within channels, and one linear layer; named likewise.

    Shapes:
        image (N, 3, 32, 32) -> logits (N, num_classes).
    """
    response = WithinChannelResponseNorm(size=3, alpha=5e-5, beta=0.75)
    b = Builder("cifar10_full")
    x = b.add("conv1", Conv(out_channels=32, kernel_size=5, padding=2), b.input("image", image))
    x = b.add("norm1", response, b.add("relu1", ReLU(), b.add("pool1", _MAX, x)))
    x = b.add("conv2", Conv(out_channels=32, kernel_size=5, padding=2), x)
    x = b.add("norm2", response, b.add("pool2", _AVERAGE, b.add("relu2", ReLU(), x)))
    x = b.add("conv3", Conv(out_channels=64, kernel_size=5, padding=2), x)
    x = b.add("pool3", _AVERAGE, b.add("relu3", ReLU(), x))
    return b.build({"logits": b.add("ip1", Linear(out_features=num_classes), b.add("flatten", Flatten(), x))})


ARCHITECTURES = (
    Architecture(
        name="cifar10_quick",
        family="cifar10",
        year=2012,
        source="BVLC/caffe, examples/cifar10/cifar10_quick.prototxt, after cuda-convnet's layers-80sec",
        build=build_cifar10_quick,
        # Parameters 2,432 + 25,632 + 51,264 + 65,600 + 650. MACs: 32^2 32 75 + 16^2 32 800 + 8^2 64 800 + 65,536 + 640.
        facts=Facts(parameters=145_578, buffers=0, macs=12_354_176, input=(3, 32, 32)),
        num_classes=10,
    ),
    Architecture(
        name="cifar10_full",
        family="cifar10",
        year=2012,
        source="BVLC/caffe, examples/cifar10/cifar10_full.prototxt, after cuda-convnet's layers-18pct",
        build=build_cifar10_full,
        facts=Facts(parameters=89_578, buffers=0, macs=12_298_240, input=(3, 32, 32)),
        num_classes=10,
    ),
)
