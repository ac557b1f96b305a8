"""Faster R-CNN (2015) and Mask R-CNN (2017) on a feature pyramid: proposals, a head for each, masks of the found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.architectures.rcnn import class_head
from cnnbench.spec.composites.pyramid import PyramidProposals, PyramidRoIAlign
from cnnbench.spec.composites.regions import ClassDetections
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Conv, Flatten, Layer, Linear, MaxPool, ReLU, Shape, Sigmoid
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.detection import AnchorGrid, TakeRows
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.normalization import FrozenBatchNorm
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.layers.shape import Reshape, Transpose

RATIOS = (0.5, 1.0, 2.0)
EXPANSION = 4  # of a bottleneck


class _Variant(NamedTuple):
    """Section 4 of the pyramid's paper, and torchvision's settings at inference.

    Args:
        stem: Channels of the first convolution.
        widths, blocks: Of each of the four stages: of the 3x3 convolutions, and how many bottlenecks.
        channels: Of the pyramid.
        sizes: Of the anchors of each of its levels, in pixels; the last level is the one before, subsampled.
        finest: As ``PyramidRoIAlign``.
        before, after: As ``PyramidProposals``.
        grid, hidden: Of a region's features, and of the two layers that read them.
        detections: The most that are found in an image.
        mask: Convolutions of the mask's head; 0 for a network without masks.
    """

    name: str
    stem: int
    widths: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    channels: int
    sizes: tuple[int, int, int, int, int]
    finest: float
    before: int
    after: int
    grid: int
    hidden: int
    detections: int
    mask: int = 0


FASTER = _Variant(
    "faster_rcnn_resnet50_fpn",
    stem=64,
    widths=(64, 128, 256, 512),
    blocks=(3, 4, 6, 3),
    channels=256,
    sizes=(32, 64, 128, 256, 512),
    finest=56.0,
    before=1000,
    after=1000,
    grid=7,
    hidden=1024,
    detections=100,
)
TINY = _Variant(
    "faster_rcnn_tiny",
    stem=16,
    widths=(8, 16, 32, 64),
    blocks=(1, 1, 1, 1),
    channels=32,
    sizes=(12, 24, 32, 40, 48),
    finest=12.0,
    before=48,
    after=24,
    grid=4,
    hidden=128,
    detections=8,
)
MASK = FASTER._replace(name="mask_rcnn_resnet50_fpn", mask=4)
MASK_TINY = TINY._replace(name="mask_rcnn_tiny", mask=2)


def build_faster_rcnn(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The network with nodes named as in torchvision's state dicts.

    The image is as the network sees it: normalised, of a size that the coarsest stage's stride of 32 divides. Its
    borders are those to which boxes are clipped.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W).
        num_classes: K, without the background.

    Shapes:
        image (N, C, H, W) -> logits (N, R, K + 1) of proposals with the background first, deltas (N, R, 4 (K + 1)),
        boxes (N, M, 4), scores (N, M), classes (N, M) integers from 0 to K - 1, counts (N,) integers, and for Mask
        R-CNN masks (N, M, S, S), of each detection's own class.
    """
    b = Builder(variant.name)
    size = image[1:]
    levels = _pyramid(b, variant, _body(b, variant, b.input("image", image)))
    regions = _proposals(b, variant, levels, (size[0], size[1]))
    finest = levels[:-1]  # the last level is for proposals only
    strides = tuple(size[0] // level.shape[2] for level in finest)
    align = PyramidRoIAlign(output_size=variant.grid, strides=strides, finest=variant.finest)
    with b.scope("roi_heads"):
        x = b.add("flatten", Flatten(), b.add("box_roi_pool", align, *finest, regions))
        for number in (6, 7):
            x = b.add(f"box_head.fc{number}", Linear(out_features=variant.hidden), x)
            x = b.add(f"box_head.relu{number}", ReLU(), x)
        with b.scope("box_predictor"):
            logits, deltas = class_head(b, x, regions.shape[1], num_classes)
        found = ClassDetections(height=size[0], width=size[1], detections=variant.detections)
        boxes, scores, classes, counts = b.add_all("detections", found, logits, deltas, regions)
        outputs = {"logits": logits, "deltas": deltas}
        outputs |= {"boxes": boxes, "scores": scores, "classes": classes, "counts": counts}
        if variant.mask:
            align = PyramidRoIAlign(output_size=2 * variant.grid, strides=strides, finest=variant.finest)
            x = b.add("mask_roi_pool", align, *finest, boxes)
            outputs["masks"] = _masks(b, variant, x, classes, num_classes)
    return b.build(outputs)


def _norm(b: Builder, names: tuple[str, str], conv: Conv, x: Value) -> Value:
    """A convolution without bias and its frozen norm: ``conv1`` and ``bn1``, ``0`` and ``1``."""
    first, second = names
    return b.add(second, FrozenBatchNorm(), b.add(first, conv, x))


def _body(b: Builder, variant: _Variant, x: Value) -> list[Value]:
    """ResNet's four stages, with the stride in the 3x3 convolutions."""
    found = []
    with b.scope("backbone.body"):
        conv = Conv(out_channels=variant.stem, kernel_size=7, stride=2, padding=3, bias=False)
        x = b.add("relu", ReLU(), _norm(b, ("conv1", "bn1"), conv, x))
        x = b.add("maxpool", MaxPool(kernel_size=3, stride=2, padding=1), x)
        for number, (width, count) in enumerate(zip(variant.widths, variant.blocks, strict=True), start=1):
            for index in range(count):
                with b.scope(f"layer{number}.{index}"):
                    x = _bottleneck(b, x, width, 2 if number > 1 and not index else 1)
            found.append(x)
    return found


def _bottleneck(b: Builder, x: Value, width: int, stride: int) -> Value:
    out = width * EXPANSION
    y = _norm(b, ("conv1", "bn1"), Conv(out_channels=width, kernel_size=1, bias=False), x)
    y = b.add("relu1", ReLU(), y)
    y = _norm(b, ("conv2", "bn2"), Conv(out_channels=width, kernel_size=3, stride=stride, padding=1, bias=False), y)
    y = b.add("relu2", ReLU(), y)
    y = _norm(b, ("conv3", "bn3"), Conv(out_channels=out, kernel_size=1, bias=False), y)
    if stride != 1 or x.channels != out:
        with b.scope("downsample"):
            x = _norm(b, ("0", "1"), Conv(out_channels=out, kernel_size=1, stride=stride, bias=False), x)
    return b.add("relu3", ReLU(), b.add("add", Add(), y, x))


def _pyramid(b: Builder, variant: _Variant, stages: Sequence[Value]) -> list[Value]:
    """Five levels of equal width: each stage with what the coarser ones see (figure 3), and the last one subsampled."""
    found: list[Value] = []
    above: Value | None = None
    with b.scope("backbone.fpn"):
        for number in reversed(range(len(stages))):
            x = b.add(f"inner_blocks.{number}.0", Conv(out_channels=variant.channels, kernel_size=1), stages[number])
            if above is not None:
                larger = Resize(size=x.shape[2:], mode="nearest", coordinates="asymmetric", nearest_rounding="floor")
                x = b.add(f"add{number}", Add(), x, b.add(f"larger{number}", larger, above))
            above = x
            smooth = Conv(out_channels=variant.channels, kernel_size=3, padding=1)
            found.insert(0, b.add(f"layer_blocks.{number}.0", smooth, x))
        found.append(b.add("pool", MaxPool(kernel_size=1, stride=2), found[-1]))
    return found


def _proposals(b: Builder, variant: _Variant, levels: Sequence[Value], size: tuple[int, int]) -> Value:
    """Regions (N, R, 4): one head on every level, and the best of all."""
    parts: list[Value] = []
    for number, (level, anchor) in enumerate(zip(levels, variant.sizes, strict=True)):
        with b.scope("rpn"):
            x = _head(b, "conv.0.0", Conv(out_channels=variant.channels, kernel_size=3, padding=1), level, number)
            x = b.add(f"level{number}.relu", ReLU(), x)
            rows, columns = level.shape[2:]
            places = rows * columns * len(RATIOS)
            for name, width in (("cls_logits", 1), ("bbox_pred", 4)):
                y = _head(b, name, Conv(out_channels=width * len(RATIOS), kernel_size=1), x, number)
                with b.scope(f"level{number}.{name}"):
                    y = b.add("last", Transpose(permutation=(0, 2, 3, 1)), y)
                    shape = (places,) if width == 1 else (places, width)
                    parts.append(b.add("rows", Reshape(shape=shape), y))
            grid = AnchorGrid(
                sizes=(float(anchor),), aspect_ratios=RATIOS, stride=(size[0] // rows, size[1] // columns)
            )
            parts.append(b.add(f"level{number}.anchors", grid, level))
    chosen = PyramidProposals(height=size[0], width=size[1], before=variant.before, after=variant.after)
    return b.add_all("rpn.proposals", chosen, *parts)[0]


def _head(b: Builder, name: str, layer: Layer, x: Value, level: int) -> Value:
    """A layer of the proposals' head, whose weights all levels share; those of the first have torchvision's names."""
    if not level:
        return b.add(f"head.{name}", layer, x)
    return b.add(f"level{level}.head.{name}", layer, x, weights_of=f"rpn.head.{name}")


def _masks(b: Builder, variant: _Variant, x: Value, classes: Value, num_classes: int) -> Value:
    """(N, M, S, S): the share of its box that each detection fills, of the map of its class."""
    for number in range(variant.mask):
        with b.scope(f"mask_head.{number}"):
            x = b.add("0", Conv(out_channels=variant.channels, kernel_size=3, padding=1), x)
            x = b.add("1", ReLU(), x)
    with b.scope("mask_predictor"):
        x = b.add("conv5_mask", ConvTranspose(out_channels=variant.channels, kernel_size=2, stride=2), x)
        x = b.add("relu", ReLU(), x)
        x = b.add("mask_fcn_logits", Conv(out_channels=num_classes + 1, kernel_size=1), x)
    x = b.add("mask_objects", Slice(starts=(1,), ends=(None,)), x)
    own = b.add("mask_class", Reshape(shape=(-1, 1), whole=True), classes)
    x = b.add("masks", Sigmoid(), b.add("mask_own", TakeRows(), x, own))
    side = x.shape[-1]
    return b.add("masks_by_image", Reshape(shape=(-1, variant.detections, side, side), whole=True), x)


def _architecture(variant: _Variant, num_classes: int, facts: Facts) -> Architecture:
    paper = "arXiv:1703.06870, section 3" if variant.mask else "arXiv:1506.01497 and arXiv:1612.03144, section 4"
    return Architecture(
        name=variant.name,
        family="faster_rcnn",
        task="detection",
        year=2017 if variant.mask else 2015,
        source=f"{paper}, as torchvision",
        build=partial(build_faster_rcnn, variant),
        facts=facts,
        num_classes=num_classes,
    )


ARCHITECTURES = (
    _architecture(
        FASTER, 90, Facts(parameters=41_755_286, buffers=106_240, macs=177_581_734_144, input=(3, 800, 1088))
    ),
    _architecture(MASK, 90, Facts(parameters=44_401_393, buffers=106_240, macs=230_788_364_544, input=(3, 800, 1088))),
    _architecture(TINY, 3, Facts(parameters=274_451, buffers=4_864, macs=13_169_504, input=(3, 64, 64))),
    _architecture(MASK_TINY, 3, Facts(parameters=297_207, buffers=4_864, macs=24_965_984, input=(3, 64, 64))),
)
