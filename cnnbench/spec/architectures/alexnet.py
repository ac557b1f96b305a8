"""AlexNet: the network of Krizhevsky et al. 2012 in its two groups, and the one-tower form of 2014."""

from __future__ import annotations

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import AdaptiveAvgPool, Conv, Dropout, Flatten, Linear, MaxPool, ReLU, Shape
from cnnbench.spec.layers.magnitude import LocalResponseNorm


def build_alexnet_2012(image: Shape, num_classes: int) -> Graph:
    """AlexNet as published: groups where the two GPUs did not talk, response normalisation, overlapping pooling.

    The paper says 224 but its first layer's 55x55 maps need 227. Nodes are named as in Caffe's port.

    Shapes:
        image (N, 3, 227, 227) -> logits (N, num_classes).
    """
    response = LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=2.0, alpha_divided_by_size=False)
    overlapping = MaxPool(kernel_size=3, stride=2)
    b = Builder("alexnet_2012")
    x = b.input("image", image)
    x = b.add("relu1", ReLU(), b.add("conv1", Conv(out_channels=96, kernel_size=11, stride=4), x))
    x = b.add("pool1", overlapping, b.add("norm1", response, x))
    x = b.add("relu2", ReLU(), b.add("conv2", Conv(out_channels=256, kernel_size=5, padding=2, groups=2), x))
    x = b.add("pool2", overlapping, b.add("norm2", response, x))
    x = b.add("relu3", ReLU(), b.add("conv3", Conv(out_channels=384, kernel_size=3, padding=1), x))
    x = b.add("relu4", ReLU(), b.add("conv4", Conv(out_channels=384, kernel_size=3, padding=1, groups=2), x))
    x = b.add("relu5", ReLU(), b.add("conv5", Conv(out_channels=256, kernel_size=3, padding=1, groups=2), x))
    x = b.add("flatten", Flatten(), b.add("pool5", overlapping, x))
    for number in (6, 7):
        x = b.add(f"relu{number}", ReLU(), b.add(f"fc{number}", Linear(out_features=4096), x))
        x = b.add(f"drop{number}", Dropout(p=0.5), x)
    return b.build({"logits": b.add("fc8", Linear(out_features=num_classes), x)})


def build_alexnet(image: Shape, num_classes: int) -> Graph:
    """The one-tower form without groups and normalisation, its nodes named as torchvision's.

    Shapes:
        image (N, 3, 224, 224) -> logits (N, num_classes).
    """
    b = Builder("alexnet")
    features = [
        Conv(out_channels=64, kernel_size=11, stride=4, padding=2),
        ReLU(),
        MaxPool(kernel_size=3, stride=2),
        Conv(out_channels=192, kernel_size=5, padding=2),
        ReLU(),
        MaxPool(kernel_size=3, stride=2),
        Conv(out_channels=384, kernel_size=3, padding=1),
        ReLU(),
        Conv(out_channels=256, kernel_size=3, padding=1),
        ReLU(),
        Conv(out_channels=256, kernel_size=3, padding=1),
        ReLU(),
        MaxPool(kernel_size=3, stride=2),
    ]
    classifier = [
        Dropout(p=0.5),
        Linear(out_features=4096),
        ReLU(),
        Dropout(p=0.5),
        Linear(out_features=4096),
        ReLU(),
        Linear(out_features=num_classes),
    ]
    x = b.stack("features", features, b.input("image", image))
    x = b.add("flatten", Flatten(), b.add("avgpool", AdaptiveAvgPool(output_size=6), x))
    return b.build({"logits": b.stack("classifier", classifier, x)})


ARCHITECTURES = (
    Architecture(
        name="alexnet_2012",
        family="alexnet",
        year=2012,
        source="Krizhevsky, Sutskever, Hinton, NIPS 2012, section 3.5: 60 million parameters",
        build=build_alexnet_2012,
        facts=Facts(parameters=60_965_224, buffers=0, macs=724_406_816, input=(3, 227, 227)),
        num_classes=1000,
    ),
    Architecture(
        name="alexnet",
        family="alexnet",
        year=2014,
        source="arXiv:1404.5997, section 5, footnote 1, as torchvision",
        build=build_alexnet,
        facts=Facts(parameters=61_100_840, buffers=0, macs=714_188_480, input=(3, 224, 224)),
        num_classes=1000,
    ),
)
