"""DenseCap (Johnson, Karpathy, Fei-Fei 2015): finds regions of an image and writes a caption for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts, densecap_captioner
from cnnbench.spec.architectures.densecap_captioner import Captioner, captions, first_state
from cnnbench.spec.composites.boxes import BoxClip, BoxDecode, centre_and_size
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Concat, Conv, Dropout, Layer, Linear, MaxPool, ReLU, Shape, Sigmoid
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, TakeRows
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.merge import Subtract
from cnnbench.spec.layers.reduction import TopK
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.layers.sampling import GridSample
from cnnbench.spec.layers.shape import Reshape, Transpose

SMALLEST = 1e-3  # of a box's sides in pixels: what clipping leaves smaller takes no part


class _Variant(NamedTuple):
    """Section 3 and the authors' options.

    Args:
        captioner: What writes the captions.
        stages: Channels of the 3x3 convolutions of each stage; a 2x2 pooling stands between stages.
        proposing: Channels of the convolution that proposals are made of.
        anchors: (width, height) in pixels.
        considered, regions: The best boxes that go into suppression, and R that come out of it.
        grid: The side of a region's features.
    """

    captioner: Captioner
    stages: tuple[tuple[int, ...], ...]
    proposing: int
    anchors: tuple[tuple[int, int], ...]
    considered: int
    regions: int
    grid: int

    @property
    def name(self) -> str:
        """Of the whole network."""
        return self.captioner.name


FULL = _Variant(
    densecap_captioner.FULL,
    stages=((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    proposing=256,
    anchors=(
        *((45, 90), (90, 45), (64, 64), (90, 180), (180, 90), (128, 128)),
        *((181, 362), (362, 181), (256, 256), (362, 724), (724, 362), (512, 512)),
    ),
    considered=2000,
    regions=300,
    grid=7,
)
TINY = _Variant(
    densecap_captioner.TINY,
    stages=((16,), (32,), (64, 64)),
    proposing=32,
    anchors=((14, 14), (20, 20), (28, 28)),
    considered=64,
    regions=8,
    grid=4,
)


class _Regions(NamedTuple):
    """What is found in an image: (N, R, 4), (N, R), (N,) integers, and (N R, code)."""

    boxes: Value
    scores: Value
    counts: Value
    codes: Value


def build_densecap(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """Image and captions to the logits of each next word, as it is trained.

    Boxes are (x1, y1, x2, y2) in pixels, the centre of the first pixel being 0. Gradients go through the places at
    which features are sampled into the boxes (section 3.2), but not through their choice.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W).
        num_classes: V, words of the vocabulary.

    Shapes:
        image (N, C, H, W), words (N, R, T) integers -> logits (N, R, T, V + 1), boxes (N, R, 4), scores (N, R) from 0
        to 1, counts (N,) integers: how many of the R regions there are. Words are those of ``build_captioner``.
    """
    b = Builder(variant.name)
    x = b.input("image", image)
    steps = variant.captioner.steps
    words = b.input("words", (variant.regions, steps), dtype="int")
    found = _regions(b, variant, x)
    words = b.add("captioner.rows", Reshape(shape=(-1, steps), whole=True), words)
    logits = captions(b, variant.captioner, found.codes, words, num_classes)
    shape = (-1, variant.regions, steps, num_classes + 1)
    logits = b.add("captioner.by_image", Reshape(shape=shape, whole=True), logits)
    return b.build({"logits": logits, "boxes": found.boxes, "scores": found.scores, "counts": found.counts})


def build_regions(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The part that reads the image, with the state in which a caption begins.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W).
        num_classes: As ``build_densecap``; this part does not depend on it.

    Shapes:
        image (N, C, H, W) -> codes (N, R, code), boxes (N, R, 4), scores (N, R), counts (N,), h and c (N, R, hidden).
    """
    b = Builder(f"{variant.name}_regions")
    found = _regions(b, variant, b.input("image", image))
    state = first_state(b, variant.captioner, found.codes)

    def by_image(name: str, x: Value) -> Value:
        return b.add(f"{name}.by_image", Reshape(shape=(-1, variant.regions, x.shape[1]), whole=True), x)

    outputs = {"codes": by_image("codes", found.codes), "boxes": found.boxes}
    outputs |= {"scores": found.scores, "counts": found.counts}
    return b.build(outputs | {name: by_image(name, x) for name, x in zip("hc", state, strict=True)})


def _regions(b: Builder, variant: _Variant, image: Value) -> _Regions:
    layers: list[Layer] = []
    for stage, widths in enumerate(variant.stages):
        layers += [MaxPool(kernel_size=2)] if stage else []
        for width in widths:
            layers += [Conv(out_channels=width, kernel_size=3, padding=1), ReLU()]
    features = b.stack("features", layers, image)
    size = (image.shape[2], image.shape[3])
    boxes, counts = _proposals(b, variant, features, size)
    x = _sampled(b, variant, features, boxes, size)
    codes = b.stack("classifier", [*(Linear(out_features=variant.captioner.code), ReLU(), Dropout(p=0.5)) * 2], x)
    with b.scope("final"):
        deltas = b.add("box", Linear(out_features=4), codes)
        deltas = b.add("by_image", Reshape(shape=(-1, variant.regions, 4), whole=True), deltas)
        boxes = b.add("boxes", BoxDecode(largest_growth=None), deltas, boxes)
        scores = b.add("scores", Sigmoid(), b.add("objectness", Linear(out_features=1), codes))
        scores = b.add("scores_by_image", Reshape(shape=(-1, variant.regions), whole=True), scores)
    return _Regions(boxes, scores, counts, codes)


def _proposals(b: Builder, variant: _Variant, features: Value, size: tuple[int, int]) -> tuple[Value, Value]:
    """The best boxes, (N, R, 4), and how many there are: an anchor at each place, moved, and those that overlap gone.

    The authors suppress among all boxes; here among the best ``considered``, which is the same where ``regions`` stay.
    """
    count, (_, _, rows, columns) = len(variant.anchors), features.shape
    places, stride = rows * columns, 2 ** (len(variant.stages) - 1)
    with b.scope("rpn"):
        x = b.add("conv", Conv(out_channels=variant.proposing, kernel_size=3, padding=1), features)
        x = b.add("relu", ReLU(), x)
        grids = []
        for number, (width, height) in enumerate(variant.anchors):
            grid = AnchorGrid(
                sizes=(math.sqrt(width * height),), aspect_ratios=(height / width,), stride=stride, rounded=False
            )
            grids.append(b.add(f"anchors{number}", grid, x))
        anchors = b.add("centred", Affine(shift=(stride - 1) / 2), b.add("anchors", Concat(axis=0), *grids))
        deltas = b.add("box", Conv(out_channels=4 * count, kernel_size=1), x)
        deltas = b.add("box_parts", Reshape(shape=(count, 4, places)), deltas)
        deltas = b.add("box_last", Transpose(permutation=(0, 1, 3, 2)), deltas)
        deltas = b.add("deltas", Reshape(shape=(count * places, 4)), deltas)
        boxes = b.add("decode", BoxDecode(largest_growth=None), deltas, anchors)
        boxes = b.add("clip", BoxClip(height=size[0] - 1, width=size[1] - 1), boxes)
        scores = b.add("score", Conv(out_channels=2 * count, kernel_size=1), x)
        pair = b.add("score_parts", Reshape(shape=(count, 2, places)), scores)
        for_it, against_it = b.add_all("score_pair", Split(sizes=2, axis=2), pair)
        scores = b.add("score_difference", Subtract(), for_it, against_it)
        scores = b.add("scores", Reshape(shape=(count * places,)), scores)
        best, order = b.add_all("best", TopK(k=min(variant.considered, count * places), axis=1), scores)
        boxes = b.add("best_boxes", TakeRows(), boxes, order)
        kept = NonMaxSuppression(iou_threshold=0.7, max_outputs=variant.regions, min_size=SMALLEST)
        stay, counts = b.add_all("suppression", kept, boxes, best)
        return b.add("boxes", TakeRows(), boxes, stay), counts


def _sampled(b: Builder, variant: _Variant, features: Value, boxes: Value, size: tuple[int, int]) -> Value:
    """Features at a grid of points within each box, by bilinear interpolation: (N R, C grid^2).

    The authors' affine map: from -1 to 1 over the image, a box reaches from its centre by its share of the image; the
    points of a grid lie evenly between its corners, which is what linear interpolation of the corners gives.
    """
    channels, grid, regions = features.channels, variant.grid, variant.regions
    with b.scope("sample"):
        parts = centre_and_size(b, "box", boxes)
        ends: dict[str, tuple[Value, Value]] = {}
        for i, (name, n) in enumerate((("x", size[1]), ("y", size[0]))):
            centre = b.add(f"{name}_centre", Affine(scale=2 / (n - 1), shift=-1.0), parts[i])
            half = b.add(f"{name}_half", Affine(scale=1 / n), parts[2 + i])
            ends[name] = (b.add(f"{name}_low", Subtract(), centre, half), b.add(f"{name}_high", Add(), centre, half))
        (left, right), (top, bottom) = ends["x"], ends["y"]
        corners = b.add("corners", Concat(axis=-1), left, right, left, right, top, top, bottom, bottom)
        corners = b.add("corner_maps", Reshape(shape=(-1, 2, 2, 2), whole=True), corners)
        points = b.add("points", Resize(size=grid, mode="linear", coordinates="align_corners"), corners)
        points = b.add("points_last", Transpose(permutation=(0, 2, 3, 1)), points)
        points = b.add("grid", Reshape(shape=(-1, regions * grid, grid, 2), whole=True), points)
        x = b.add("bilinear", GridSample(align_corners=True), features, points)
        x = b.add("by_region", Reshape(shape=(channels, regions, grid * grid)), x)
        x = b.add("region_first", Transpose(permutation=(0, 2, 1, 3)), x)
        return b.add("rows", Reshape(shape=(-1, channels * grid * grid), whole=True), x)


def _architecture(
    variant: _Variant, part: str, build: Callable[[_Variant, Shape, int], Graph], facts: Facts
) -> Architecture:
    return Architecture(
        name=variant.name + part,
        family="densecap",
        task="captioning",
        year=2015,
        source="arXiv:1511.07571, section 3, as the authors' code",
        build=partial(build, variant),
        facts=facts,
        num_classes=variant.captioner.words,
    )


ARCHITECTURES = (
    # VGG-16 without its last layer 134,260,544; proposals 1,179,904 + 12,336 + 6,168; box 16,388, objectness 4,097;
    # captioner 14,957,826. The image is 720 pixels long, as in the authors' evaluation. Multiply-accumulates: VGG-16's
    # convolutions 105,703,833,600, proposals 1350 (9 512 256 + 72 256), 300 regions (4096 (25,088 + 4096 + 5) and the
    # captioner's 123,748,352, or (4096 512 + 8 512^2) where the caption only begins).
    _architecture(FULL, "", build_densecap, Facts(parameters=150_437_263, macs=180_313_190_400, input=(3, 480, 720))),
    _architecture(
        FULL, "_regions", build_regions, Facts(parameters=139_676_301, macs=144_446_976_000, input=(3, 480, 720))
    ),
    _architecture(TINY, "", build_densecap, Facts(parameters=270_690, macs=28_896_768, input=(3, 64, 64))),
    _architecture(TINY, "_regions", build_regions, Facts(parameters=269_207, macs=27_022_336, input=(3, 64, 64))),
)
