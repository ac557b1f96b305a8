"""R-CNN (Girshick et al. 2013) and Fast R-CNN (Girshick 2015): given regions, one network for each or one for all."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.composites.regions import ClassDetections
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Conv, Dropout, Flatten, Layer, Linear, LocalResponseNorm, MaxPool, ReLU, Shape
from cnnbench.spec.layers.detection import RoIMaxPool
from cnnbench.spec.layers.shape import Reshape


class _Crops(NamedTuple):
    """R-CNN's network of one warped region.

    Args:
        name: Of the network.
        widths: Channels of the five convolutions.
        stride: Of the first.
        hidden: Of the two fully connected layers.
    """

    name: str
    widths: tuple[int, int, int, int, int]
    stride: int
    hidden: int


class _Regions(NamedTuple):
    """Fast R-CNN's network of an image.

    Args:
        name: Of the network.
        stages: Channels of the 3x3 convolutions of each stage; a 2x2 pooling stands between stages.
        grid: Rows and columns of a region's features.
        hidden: Of the two fully connected layers.
        regions: R, those of an image.
        detections: M, the most that are found in an image.
    """

    name: str
    stages: tuple[tuple[int, ...], ...]
    grid: int
    hidden: int
    regions: int
    detections: int


CAFFENET = _Crops("rcnn", (96, 256, 384, 384, 256), stride=4, hidden=4096)
SMALL_CROPS = _Crops("rcnn_tiny", (24, 64, 96, 96, 64), stride=2, hidden=256)
VGG16 = _Regions(
    "fast_rcnn",
    ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    grid=7,
    hidden=4096,
    regions=2000,
    detections=100,
)
SMALL_REGIONS = _Regions("fast_rcnn_tiny", ((16,), (32,), (64, 64)), grid=4, hidden=128, regions=16, detections=10)


def build_rcnn(variant: _Crops, image: Shape, num_classes: int) -> Graph:
    """CaffeNet on the warped crop of a region; logits of the background, then of the classes.

    The detector takes ``features7`` to linear classifiers and ``features5`` to box regression (appendix C).
    CaffeNet pools before it normalises, the other way round than AlexNet, and its two groups are AlexNet's.

    Args:
        variant: The registered network.
        image: The shape of one crop, (C, H, W).
        num_classes: K, without the background.

    Shapes:
        image (N, C, H, W) -> logits (N, K + 1), features7 (N, hidden), features5 (N, widths[-1], H', W').
    """
    b = Builder(variant.name)
    response = LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0)
    pool = MaxPool(kernel_size=3, stride=2)
    x, (first, second, *others) = b.input("image", image), variant.widths
    x = b.add("relu1", ReLU(), b.add("conv1", Conv(out_channels=first, kernel_size=11, stride=variant.stride), x))
    x = b.add("norm1", response, b.add("pool1", pool, x))
    x = b.add("relu2", ReLU(), b.add("conv2", Conv(out_channels=second, kernel_size=5, padding=2, groups=2), x))
    x = b.add("norm2", response, b.add("pool2", pool, x))
    for number, (width, groups) in enumerate(zip(others, (1, 2, 2), strict=True), start=3):
        conv = Conv(out_channels=width, kernel_size=3, padding=1, groups=groups)
        x = b.add(f"relu{number}", ReLU(), b.add(f"conv{number}", conv, x))
    pooled = b.add("pool5", pool, x)
    x = b.add("flatten", Flatten(), pooled)
    x = b.add("drop6", Dropout(p=0.5), b.add("relu6", ReLU(), b.add("fc6", Linear(out_features=variant.hidden), x)))
    seventh = b.add("relu7", ReLU(), b.add("fc7", Linear(out_features=variant.hidden), x))
    x = b.add("drop7", Dropout(p=0.5), seventh)
    logits = b.add("fc8", Linear(out_features=num_classes + 1), x)
    return b.build({"logits": logits, "features7": seventh, "features5": pooled})


def build_fast_rcnn(variant: _Regions, image: Shape, num_classes: int) -> Graph:
    """VGG on the whole image, maxima of the features in each region, and its class and its box (figure 1).

    Nodes of the convolutions and of the first two linear layers are named as torchvision's VGG.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W).
        num_classes: K, without the background.

    Shapes:
        image (N, C, H, W), regions (N, R, 4) as x1, y1, x2, y2 in pixels, zeros behind the last -> logits
        (N, R, K + 1) with the background first, deltas (N, R, 4 (K + 1)), and detections: boxes (N, M, 4), scores
        (N, M), classes (N, M) integers from 0 to K - 1, counts (N,) integers.
    """
    b = Builder(variant.name)
    x = b.input("image", image)
    regions = b.input("regions", (variant.regions, 4))
    layers: list[Layer] = []
    for stage, widths in enumerate(variant.stages):
        layers += [MaxPool(kernel_size=2)] if stage else []
        for width in widths:
            layers += [Conv(out_channels=width, kernel_size=3, padding=1), ReLU()]
    x = b.stack("features", layers, x)
    rows = b.add("region_rows", Reshape(shape=(-1, 4), whole=True), regions)
    scale = 0.5 ** (len(variant.stages) - 1)
    x = b.add("roi_pool", RoIMaxPool(output_size=variant.grid, spatial_scale=scale), x, rows)
    x = b.add("flatten", Flatten(), x)
    x = b.stack("classifier", [*(Linear(out_features=variant.hidden), ReLU(), Dropout(p=0.5)) * 2], x)
    logits, deltas = class_head(b, x, variant.regions, num_classes)
    found = ClassDetections(height=image[1], width=image[2], detections=variant.detections, iou_threshold=0.3)
    names = ("boxes", "scores", "classes", "counts")
    detections = dict(zip(names, b.add_all("detections", found, logits, deltas, regions), strict=True))
    return b.build({"logits": logits, "deltas": deltas, **detections})


def class_head(b: Builder, x: Value, regions: int, num_classes: int) -> tuple[Value, Value]:
    """Scores and deltas of each class: (N R, D) -> (N, R, K + 1), (N, R, 4 (K + 1)).

    Args:
        b: Where the nodes go.
        x: (N R, D).
        regions: R.
        num_classes: K, without the background.
    """
    found = []
    for name, size in (("cls_score", num_classes + 1), ("bbox_pred", 4 * (num_classes + 1))):
        value = b.add(name, Linear(out_features=size), x)
        found.append(b.add(f"{name}.by_image", Reshape(shape=(-1, regions, size), whole=True), value))
    return found[0], found[1]


def _architecture(name: str, build: partial[Graph], num_classes: int, facts: Facts) -> Architecture:
    crops = build.func is build_rcnn
    return Architecture(
        name=name,
        family="rcnn",
        task="detection",
        year=2013 if crops else 2015,
        source="arXiv:1311.2524, section 2.1, as Caffe's bvlc_reference_rcnn_ilsvrc13"
        if crops
        else "arXiv:1504.08083, section 2, model L",
        build=build,
        facts=facts,
        num_classes=num_classes,
    )


ARCHITECTURES = (
    # AlexNet of two groups, 60,965,224, with 21 outputs in the place of 1,000.
    _architecture(
        "rcnn", partial(build_rcnn, CAFFENET), 20, Facts(parameters=56_954_261, macs=720_396_832, input=(3, 227, 227))
    ),
    _architecture(
        "rcnn_tiny", partial(build_rcnn, SMALL_CROPS), 3, Facts(parameters=285_284, macs=15_701_064, input=(3, 67, 67))
    ),
    # VGG-16 without its last layer 134,260,544; classes 4,097 21, boxes 4,097 84.
    _architecture(
        "fast_rcnn",
        partial(build_fast_rcnn, VGG16),
        20,
        Facts(parameters=134_690_729, macs=386_569_420_800, input=(3, 600, 800)),
    ),
    _architecture(
        "fast_rcnn_tiny",
        partial(build_fast_rcnn, SMALL_REGIONS),
        3,
        Facts(parameters=210_804, macs=23_044_096, input=(3, 64, 64)),
    ),
)
