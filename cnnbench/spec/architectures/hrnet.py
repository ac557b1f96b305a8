"""HRNet (Wang et al. 2019): branches of several resolutions side by side, fused again and again."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.architectures.resnet import basic_block, bottleneck_block
from cnnbench.spec.composites.resize import Upsample
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, BatchNorm, Conv, GlobalAvgPool, Linear, ReLU, Shape


class _Stage(NamedTuple):
    """A stage: how many multi-resolution modules it has, and how many branches each of them."""

    modules: int
    branches: int


class _Variant(NamedTuple):
    """Section 3.

    Args:
        width: Channels of the branch of the highest resolution.
        stem: Channels of the two strided convolutions.
        blocks: Bottlenecks behind them, and basic blocks in a branch of a module.
        stages: In their order.
    """

    width: int
    stem: int = 64
    blocks: int = 4
    stages: tuple[_Stage, ...] = (_Stage(1, 2), _Stage(4, 3), _Stage(3, 4))


W32 = _Variant(32)
TINY = _Variant(16, stem=16, blocks=1, stages=(_Stage(1, 2), _Stage(1, 3)))
HEAD_WIDTHS = (32, 64, 128, 256)  # of the bottlenecks that the head begins with, before their expansion by 4
HEAD = 2048


def build_hrnet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """HRNet for classification (section 3.4); its nodes are named as in the authors' release.

    Args:
        variant: Its sizes.
        image: The shape of one image, (C, H, W).
        num_classes: The number of logits.

    Shapes:
        image (N, C, H, W) with H and W divisible by 32 -> logits (N, num_classes).
    """
    b = Builder(f"hrnet_w{variant.width}")
    branches = body(b, stem(b, b.input("image", image), variant), variant)
    y = branches[0]
    for number, (branch, head_width) in enumerate(zip(branches, HEAD_WIDTHS, strict=True)):
        with b.scope(f"incre_modules.{number}.0"):
            raised = bottleneck_block(b, branch, head_width, 1, "3x3")
        if number:
            with b.scope(f"downsamp_modules.{number - 1}"):
                y = _conv_norm_relu(b, y, 4 * head_width, 3, 2, bias=True)
                y = b.add("add", Add(), raised, y)
        else:
            y = raised
    with b.scope("final_layer"):
        y = _conv_norm_relu(b, y, HEAD, 1, 1, bias=True)
    y = b.add("avgpool", GlobalAvgPool(), y)
    return b.build({"logits": b.add("classifier", Linear(out_features=num_classes), y)})


def build_hrnet_pose(name: str, variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """HRNet for keypoints: a map for each, from the branch of the highest resolution by one 1x1 convolution.

    Args:
        name: Its name.
        variant: Its sizes.
        image: The shape of one image, (C, H, W), one person's box.
        num_classes: Keypoints.

    Shapes:
        image (N, C, H, W) with H and W divisible by 32 -> heatmaps (N, num_classes, H/4, W/4).
    """
    b = Builder(name)
    x = body(b, stem(b, b.input("image", image), variant), variant, last_fused=1)[0]
    return b.build({"heatmaps": b.add("final_layer", Conv(out_channels=num_classes, kernel_size=1), x)})


def stem(b: Builder, x: Value, variant: _Variant) -> Value:
    """Two strided 3x3 and four bottlenecks. Shapes: (N, C, H, W) -> (N, 256, H/4, W/4).

    Args:
        b: Where the nodes go.
        x: The image.
        variant: The sizes.
    """
    for number in ("1", "2"):
        conv = Conv(out_channels=variant.stem, kernel_size=3, stride=2, padding=1, bias=False)
        x = b.add(f"relu{number}", ReLU(), b.add(f"bn{number}", BatchNorm(), b.add(f"conv{number}", conv, x)))
    for index in range(variant.blocks):
        with b.scope(f"layer1.{index}"):
            x = bottleneck_block(b, x, variant.stem, 1, "3x3")
    return x


def body(b: Builder, x: Value, variant: _Variant, *, last_fused: int | None = None) -> list[Value]:
    """The stages: one more branch of half the resolution and twice the width in each; highest resolution first.

    The last module gives ``last_fused`` branches, or all.

    Args:
        b: Where the nodes go.
        x: The output of the stem, (N, C, H, W).
        variant: The sizes.
        last_fused: How many branches the last module gives, highest resolution first; None for all.
    """
    branches = [x]
    for number, stage in enumerate(variant.stages, start=2):
        branches = _transition(b, branches, stage, variant.width, number - 1)
        for module in range(stage.modules):
            last = number == len(variant.stages) + 1 and module == stage.modules - 1
            with b.scope(f"stage{number}.{module}"):
                branches = _module(b, branches, variant, last_fused if last and last_fused else stage.branches)
    return branches


def _transition(b: Builder, branches: list[Value], stage: _Stage, width: int, number: int) -> list[Value]:
    """Branches of the stage's widths; the new one comes from the lowest resolution by a strided 3x3."""
    result = []
    for i in range(stage.branches):
        channels = width * 2**i
        if i >= len(branches):
            with b.scope(f"transition{number}.{i}.0"):
                result.append(_conv_norm_relu(b, branches[-1], channels, 3, 2))
        elif branches[i].channels != channels:
            with b.scope(f"transition{number}.{i}"):
                result.append(_conv_norm_relu(b, branches[i], channels, 3, 1))
        else:
            result.append(branches[i])
    return result


def _module(b: Builder, branches: list[Value], variant: _Variant, outputs: int) -> list[Value]:
    """Basic blocks in each branch, then every output sums all branches at its resolution (figure 3)."""
    through = []
    for i, x in enumerate(branches):
        for index in range(variant.blocks):
            with b.scope(f"branches.{i}.{index}"):
                x = basic_block(b, x, variant.width * 2**i, 1)
        through.append(x)
    fused = []
    for i in range(outputs):
        with b.scope(f"fuse_layers.{i}"):
            total: Value | None = None
            for j, x in enumerate(through):
                x = _to_resolution(b, x, i, j, variant.width)
                total = x if total is None else b.add(f"add{j}", Add(), total, x)
            if total is None:
                raise RuntimeError("a module has branches")
            fused.append(b.add("relu", ReLU(), total))
    return fused


def _to_resolution(b: Builder, x: Value, i: int, j: int, width: int) -> Value:
    """Branch j at the resolution and width of branch i: 1x1 and nearest upsampling, or strided 3x3 convolutions."""
    if j == i:
        return x
    with b.scope(str(j)):
        if j > i:
            x = b.add("0", Conv(out_channels=width * 2**i, kernel_size=1, bias=False), x)
            x = b.add("1", BatchNorm(), x)
            return b.add("2", Upsample(scale=2 ** (j - i)), x)
        for step in range(i - j):
            last = step == i - j - 1
            with b.scope(str(step)):
                channels = width * 2 ** (i if last else j)
                x = b.add("0", Conv(out_channels=channels, kernel_size=3, stride=2, padding=1, bias=False), x)
                x = b.add("1", BatchNorm(), x)
                x = x if last else b.add("2", ReLU(), x)
        return x


def _conv_norm_relu(b: Builder, x: Value, channels: int, kernel_size: int, stride: int, *, bias: bool = False) -> Value:
    conv = Conv(out_channels=channels, kernel_size=kernel_size, stride=stride, padding=kernel_size // 2, bias=bias)
    return b.add("2", ReLU(), b.add("1", BatchNorm(), b.add("0", conv, x)))


ARCHITECTURES = (
    Architecture(
        name="hrnet_w32",
        family="hrnet",
        year=2019,
        source="arXiv:1908.07919, section 3, as the authors' HRNet-Image-Classification (41.2 M, 8.31 GFLOPs)",
        build=partial(build_hrnet, W32),
        facts=Facts(parameters=41_232_680, macs=8_921_133_056, input=(3, 224, 224)),
        num_classes=1000,
    ),
    Architecture(
        name="hrnet_w32_pose",
        family="hrnet",
        task="pose",
        year=2019,
        source="arXiv:1902.09212, section 3, as the authors' pose_hrnet w32 (28.5 M)",
        build=partial(build_hrnet_pose, "hrnet_w32_pose", W32),
        facts=Facts(parameters=28_536_113, macs=7_645_003_776, input=(3, 256, 192)),
        num_classes=17,
    ),
    # Stem 7,728, transitions 27,744 + 18,560, modules 28,448 + 98,816, head 238.
    # Of 8 channels a 1x1 convolution could not make 14 independent maps, so the finest branch has 16.
    Architecture(
        name="hrnet_pose_tiny",
        family="hrnet",
        task="pose",
        year=2019,
        source="arXiv:1902.09212, section 3",
        build=partial(build_hrnet_pose, "hrnet_pose_tiny", TINY),
        facts=Facts(parameters=181_534, buffers=1_408, macs=12_378_112, input=(3, 64, 64)),
        num_classes=14,
    ),
)
