"""Single blocks: a residual block, an inception module without and with bottlenecks, soft attention over a map."""

from __future__ import annotations

from collections.abc import Callable

from cnnbench.spec.architectures import Architecture, Facts, require_no_classes
from cnnbench.spec.architectures.resnet import basic_block
from cnnbench.spec.composites.attention import AdditiveAttention
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Concat, Conv, MaxPool, ReLU, Shape
from cnnbench.spec.layers.shape import Reshape, Transpose

# CS231n's example: widths of the 1x1, the 3x3 and the 5x5, and of every bottleneck.
WIDTHS, BOTTLENECK = (128, 192, 96), 64
STATE, UNITS = 1000, 512  # of the LSTM that asks, and of the hidden layer of the scores


def build_residual_block(features: Shape, num_classes: int) -> Graph:
    """Two 3x3 convolutions with batch norms beside a shortcut.

    Args:
        features: The shape of one map, (C, H, W).
        num_classes: The block has none.

    Shapes:
        image (N, C, H, W) -> features (N, C, H, W).
    """
    require_no_classes("residual_block", num_classes)
    b = Builder("residual_block")
    return b.build({"features": basic_block(b, b.input("image", features), features[0], 1)})


def build_inception_naive(features: Shape, num_classes: int) -> Graph:
    """1x1, 3x3 and 5x5 convolutions and a 3x3 pooling side by side: the depth can only grow.

    Args:
        features: The shape of one map, (C, H, W).
        num_classes: The block has none.

    Shapes:
        image (N, C, H, W) -> features (N, 416 + C, H, W).
    """
    require_no_classes("inception_naive", num_classes)
    b = Builder("inception_naive")
    x = b.input("image", features)
    branches = [_conv(b, f"branch{2 * i + 1}x{2 * i + 1}", x, width, 2 * i + 1) for i, width in enumerate(WIDTHS)]
    branches.append(b.add("branch_pool", MaxPool(kernel_size=3, stride=1, padding=1), x))
    return b.build({"features": b.add("concat", Concat(), *branches)})


def build_inception_reduced(features: Shape, num_classes: int) -> Graph:
    """The same with a 1x1 convolution before the 3x3 and the 5x5, and one after the pooling.

    Args:
        features: The shape of one map, (C, H, W).
        num_classes: The block has none.

    Shapes:
        image (N, C, H, W) -> features (N, 480, H, W).
    """
    require_no_classes("inception_reduced", num_classes)
    b = Builder("inception_reduced")
    x = b.input("image", features)
    branches = [_conv(b, "branch1x1", x, WIDTHS[0], 1)]
    for kernel, width in ((3, WIDTHS[1]), (5, WIDTHS[2])):
        reduced = _conv(b, f"branch{kernel}x{kernel}_reduce", x, BOTTLENECK, 1)
        branches.append(_conv(b, f"branch{kernel}x{kernel}", reduced, width, kernel))
    pooled = b.add("branch_pool", MaxPool(kernel_size=3, stride=1, padding=1), x)
    branches.append(_conv(b, "branch_pool_proj", pooled, BOTTLENECK, 1))
    return b.build({"features": b.add("concat", Concat(), *branches)})


def build_soft_attention(features: Shape, num_classes: int) -> Graph:
    """Where to look: a mean of the map's positions, weighted by how well each of them answers the state of an LSTM.

    Args:
        features: The shape of one map, (D, H, W).
        num_classes: The block has none.

    Shapes:
        image (N, D, H, W), state (N, 1000) -> context (N, D), attention (N, H, W), whose sum is 1.
    """
    require_no_classes("soft_attention", num_classes)
    b = Builder("soft_attention")
    x, state = b.input("image", features), b.input("state", (STATE,))
    places = b.add("flat", Reshape(shape=(features[0], features[1] * features[2])), x)
    places = b.add("places", Transpose(permutation=(0, 2, 1)), places)
    context, weights = b.add_all("attention", AdditiveAttention(units=UNITS), places, state)
    return b.build({"context": context, "attention": b.add("map", Reshape(shape=features[1:]), weights)})


def _conv(b: Builder, name: str, x: Value, width: int, kernel_size: int) -> Value:
    conv = Conv(out_channels=width, kernel_size=kernel_size, padding=kernel_size // 2)
    return b.add(f"{name}.relu", ReLU(), b.add(f"{name}.conv", conv, x))


def _architecture(
    name: str, build: Callable[[Shape, int], Graph], year: int, source: str, facts: Facts
) -> Architecture:
    return Architecture(
        name=name,
        family="blocks",
        task="features",
        year=year,
        source=source,
        build=build,
        facts=facts,
        num_classes=0,
    )


LECTURE = "arXiv:1409.4842, figure 2, with the sizes of CS231n (2017), lecture 9"
ARCHITECTURES = (
    # 2 (9 64^2) and two norms of 128; multiply-accumulates for each of 56^2 places.
    _architecture(
        "residual_block",
        build_residual_block,
        2015,
        "arXiv:1512.03385, figures 2 and 5 (left)",
        Facts(parameters=73_984, buffers=256, macs=231_211_008, input=(64, 56, 56)),
    ),
    # The lecture's 854 M: 28^2 256 (128 + 9 192 + 25 96). 416 biases.
    _architecture(
        "inception_naive",
        build_inception_naive,
        2014,
        f"{LECTURE} (854 M products)",
        Facts(parameters=1_089_952, macs=854_196_224, input=(256, 28, 28)),
    ),
    # The lecture says 358 M, but the six products that it lists sum to 271 M, as they do here:
    # 28^2 (256 (64 + 64 + 128 + 64) + 64 (9 192 + 25 96)). 608 biases.
    _architecture(
        "inception_reduced",
        build_inception_reduced,
        2014,
        f"{LECTURE} (whose 358 M products sum to 271 M)",
        Facts(parameters=346_720, macs=271_351_808, input=(256, 28, 28)),
    ),
    # 512^2 + 1000 512 + 512; the map is VGG's of 14x14, and the state the paper's of 1,000.
    _architecture(
        "soft_attention",
        build_soft_attention,
        2015,
        "arXiv:1502.03044, section 4.2, scores as arXiv:1409.0473, appendix A.1.2",
        Facts(parameters=774_656, macs=51_992_576, input=(512, 14, 14)),
    ),
)
