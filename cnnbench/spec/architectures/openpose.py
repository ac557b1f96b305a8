"""OpenPose (Cao et al. 2017, 2018): confidence maps of keypoints and fields of limbs, refined stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from cnnbench.errors import SpecError
from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Concat, Conv, Layer, MaxPool, PReLU, ReLU, Shape

COCO_MAPS, COCO_FIELDS = 19, 38  # 18 keypoints and the background; 19 limbs, two coordinates each
BODY_MAPS, BODY_FIELDS = 26, 52
FIELD_STAGES, MAP_STAGES, BLOCKS = 4, 2, 5

Activation = Callable[[], Layer]


class _Features(NamedTuple):
    """Where both networks begin.

    Args:
        vgg: The first ten convolutions of VGG-19: channels of each stage; a pooling ends all but the last.
        reduced: Channels of the two convolutions behind them, conv4_3_CPM and conv4_4_CPM.
    """

    vgg: tuple[tuple[int, ...], ...]
    reduced: tuple[int, int]


class _Branches(NamedTuple):
    """Figure 3 of the first paper, and a small network of the same form.

    Args:
        stages: How many.
        width: Channels of the convolutions of a branch.
        wide: Of the first stage's 1x1.
        kernel, repeats: Of the convolutions of the later stages, and how many there are.
    """

    name: str
    features: _Features
    stages: int
    width: int
    wide: int
    kernel: int
    repeats: int

    def fields(self, maps: int) -> int:
        """Two for each limb: COCO's 19, or, where the keypoints make a tree, one less than there are keypoints."""
        return COCO_FIELDS if self.name == COCO.name else 2 * (maps - 2)


VGG = _Features(((64, 64), (128, 128), (256, 256, 256, 256), (512, 512)), (256, 128))
COCO = _Branches("openpose_coco", VGG, stages=6, width=128, wide=512, kernel=7, repeats=5)
TINY = _Branches("openpose_tiny", _Features(((16,), (32, 32), (48,)), (32, 32)), 3, 32, 64, 5, 2)


def build_coco(variant: _Branches, image: Shape, num_classes: int) -> Graph:
    """Two branches side by side in each of six stages; each reads the features and what both branches said before.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W).
        num_classes: Confidence maps: keypoints and the background.

    Shapes:
        image (N, C, H, W) -> fields (N, 38, H/8, W/8), heatmaps (N, 19, H/8, W/8); then those of the first five
        stages, on which losses stand too. The tiny network: H/4 and W/4, 2 (keypoints - 1) fields.
    """
    if variant.name == COCO.name and num_classes != COCO_MAPS:
        raise SpecError("the limbs are those of COCO's keypoints", received=num_classes, expected=COCO_MAPS)
    if num_classes < 3:
        raise SpecError("a limb has two keypoints", received=num_classes, expected="3 or more, with the background")
    b = Builder(variant.name)
    features = _features(b, variant.features, b.input("image", image), ReLU, ReLU)
    outputs: dict[str, Value] = {}
    x = features
    for stage in range(1, variant.stages + 1):
        found = []
        for name, depth in (("fields", variant.fields(num_classes)), ("heatmaps", num_classes)):
            with b.scope(f"stage{stage}.{name}"):
                found.append(_branch(b, variant, x, depth, first=stage == 1))
        suffix = "" if stage == variant.stages else str(stage)
        outputs |= {f"fields{suffix}": found[0], f"heatmaps{suffix}": found[1]}
        if stage != variant.stages:
            x = b.add(f"stage{stage}.concat", Concat(), *found, features)
    main = ("fields", "heatmaps")
    return b.build({name: outputs[name] for name in (*main, *(name for name in outputs if name not in main))})


def _branch(b: Builder, variant: _Branches, x: Value, depth: int, *, first: bool) -> Value:
    """Three 3x3 and a wide 1x1 in the first stage, five 7x7 in the others (figure 3 of the first paper)."""
    kernel, count, wide = (3, 3, variant.wide) if first else (variant.kernel, variant.repeats, variant.width)
    for part in range(1, count + 1):
        x = _conv_act(b, f"conv{part}", x, variant.width, kernel, ReLU)
    x = _conv_act(b, f"conv{count + 1}", x, wide, 1, ReLU)
    return b.add(f"conv{count + 2}", Conv(out_channels=depth, kernel_size=1), x)


def build_body25(image: Shape, num_classes: int) -> Graph:
    """First the fields in four stages, then the maps in two, of blocks whose three 3x3 convolutions are concatenated.

    Args:
        image: The shape of one image, (C, H, W).
        num_classes: Confidence maps: keypoints and the background.

    Shapes:
        image (N, C, H, W) -> heatmaps (N, 26, H/8, W/8), fields (N, 52, H/8, W/8); then those of the stages before.
    """
    if num_classes != BODY_MAPS:
        raise SpecError("the limbs are those of 25 keypoints", received=num_classes, expected=BODY_MAPS)
    b = Builder("openpose_body25")
    features = _features(b, VGG, b.input("image", image), ReLU, _prelu)
    outputs: dict[str, Value] = {}
    x = features
    for stage in range(FIELD_STAGES):
        fields = _dense_stage(b, f"fields.stage{stage}", x, BODY_FIELDS, first=stage == 0)
        outputs["fields" if stage == FIELD_STAGES - 1 else f"fields{stage}"] = fields
        x = b.add(f"fields.stage{stage}.concat", Concat(), features, fields)
    for stage in range(MAP_STAGES):
        maps = _dense_stage(b, f"heatmaps.stage{stage}", x, BODY_MAPS, first=stage == 0)
        outputs["heatmaps" if stage == MAP_STAGES - 1 else f"heatmaps{stage}"] = maps
        if stage != MAP_STAGES - 1:
            x = b.add(f"heatmaps.stage{stage}.concat", Concat(), features, maps, outputs["fields"])
    main = ("heatmaps", "fields")
    return b.build({name: outputs[name] for name in (*main, *(name for name in outputs if name not in main))})


def _dense_stage(b: Builder, name: str, x: Value, depth: int, *, first: bool) -> Value:
    width, wide = (96, 256) if first else (128, 512)
    with b.scope(name):
        for block in range(1, BLOCKS + 1):
            parts = []
            for part in range(3):
                x = _conv_act(b, f"conv{block}.{part}", x, width, 3, _prelu)
                parts.append(x)
            x = b.add(f"conv{block}.concat", Concat(), *parts)
        x = _conv_act(b, "conv6", x, wide, 1, _prelu)
        return b.add("conv7", Conv(out_channels=depth, kernel_size=1), x)


def _features(b: Builder, features: _Features, x: Value, act: Activation, last: Activation) -> Value:
    """VGG-19 up to conv4_2, and two convolutions that reduce its channels."""
    for stage, widths in enumerate(features.vgg, 1):
        for part, width in enumerate(widths, 1):
            is_last = stage == len(features.vgg) and part == len(widths)
            x = _conv_act(b, f"conv{stage}_{part}", x, width, 3, last if is_last else act)
        if stage != len(features.vgg):
            x = b.add(f"pool{stage}", MaxPool(kernel_size=2), x)
    for part, width in enumerate(features.reduced, 3):
        x = _conv_act(b, f"conv4_{part}_cpm", x, width, 3, last)
    return x


def _conv_act(b: Builder, name: str, x: Value, width: int, kernel: int, act: Activation) -> Value:
    conv = Conv(out_channels=width, kernel_size=kernel, padding=kernel // 2)
    return b.add(f"{name}.act", act(), b.add(name, conv, x))


def _prelu() -> Layer:
    return PReLU(slopes="channel")


def _branched(variant: _Branches, num_classes: int, facts: Facts) -> Architecture:
    return Architecture(
        name=variant.name,
        family="openpose",
        task="pose",
        year=2017,
        source="arXiv:1611.08050, figure 3, as the authors' model COCO",
        build=partial(build_coco, variant),
        facts=facts,
        num_classes=num_classes,
    )


ARCHITECTURES = (
    _branched(COCO, COCO_MAPS, Facts(parameters=52_311_446, macs=135_934_006_784, input=(3, 368, 368))),
    Architecture(
        name="openpose_body25",
        family="openpose",
        task="pose",
        year=2018,
        source="arXiv:1812.08008, figure 3, as the authors' model BODY_25",
        build=build_body25,
        facts=Facts(parameters=26_166_084, macs=80_573_217_280, input=(3, 368, 368)),
        num_classes=BODY_MAPS,
    ),
    # Features 51,312; 2 29,856 + 65 41 in the first stage; 2 85,120 + 33 41 in each of the two others.
    _branched(TINY, 15, Facts(parameters=456_875, macs=128_974_848, input=(3, 64, 64))),
)
