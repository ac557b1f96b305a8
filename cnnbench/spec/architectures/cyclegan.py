"""CycleGAN (Zhu et al. 2017): a generator of residual blocks between two domains, and a discriminator of patches."""

from __future__ import annotations

from functools import partial

from cnnbench.spec.architectures import Architecture, Facts, require_no_classes
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Conv, Pad, ReLU, Shape, Tanh
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.rectifier import LeakyReLU
from cnnbench.spec.layers.standardization import InstanceNorm

SLOPE = 0.2


def build_generator(name: str, width: int, blocks: int, image: Shape, num_classes: int) -> Graph:
    """c7s1-64, d128, d256, nine residual blocks of 256, u128, u64, c7s1-3, reflected at the border.

    Args:
        name: Its name.
        width: Channels of the first layer: 64.
        blocks: Residual blocks: 9.
        image: The shape of one image, (C, H, W), H and W divisible by 4.
        num_classes: The network has none.

    Shapes:
        image (N, C, H, W) -> image (N, C, H, W), each value between -1 and 1.
    """
    require_no_classes(name, num_classes)
    b = Builder(name)
    x = _norm_relu(b, "stem", _reflected(b, "stem", b.input("image", image), width, 7))
    for part, factor in enumerate((2, 4), 1):
        conv = Conv(out_channels=factor * width, kernel_size=3, stride=2, padding=1)
        x = _norm_relu(b, f"down{part}", b.add(f"down{part}.conv", conv, x))
    for block in range(blocks):
        with b.scope(f"block{block}"):
            y = _norm_relu(b, "1", _reflected(b, "1", x, x.channels, 3))
            y = b.add("2.norm", InstanceNorm(), _reflected(b, "2", y, x.channels, 3))
            x = b.add("add", Add(), x, y)
    for part, factor in enumerate((2, 1), 1):
        up = ConvTranspose(out_channels=factor * width, kernel_size=3, stride=2, padding=1, output_padding=1)
        x = _norm_relu(b, f"up{part}", b.add(f"up{part}.conv", up, x))
    return b.build({"image": b.add("tanh", Tanh(), _reflected(b, "head", x, image[0], 7))})


def _reflected(b: Builder, name: str, x: Value, channels: int, kernel_size: int) -> Value:
    side = kernel_size // 2
    x = b.add(f"{name}.pad", Pad(padding=((0, 0), (side, side), (side, side)), mode="reflect"), x)
    return b.add(f"{name}.conv", Conv(out_channels=channels, kernel_size=kernel_size), x)


def _norm_relu(b: Builder, name: str, x: Value) -> Value:
    return b.add(f"{name}.relu", ReLU(), b.add(f"{name}.norm", InstanceNorm(), x))


def build_patchgan(name: str, widths: tuple[int, ...], image: Shape, num_classes: int) -> Graph:
    """C64-C128-C256-C512 and a map of logits, each of a patch of 70x70 pixels; no norm after the first.

    Args:
        name: Its name.
        widths: Channels of the layers but the last.
        image: The shape of one image, (C, H, W).
        num_classes: The network has none.

    Shapes:
        image (N, C, H, W) -> logits (N, 1, H', W'): 256 -> 30.
    """
    require_no_classes(name, num_classes)
    b = Builder(name)
    x = b.input("image", image)
    for part, width in enumerate(widths):
        last = part == len(widths) - 1
        x = b.add(f"conv{part + 1}", Conv(out_channels=width, kernel_size=4, stride=1 if last else 2, padding=1), x)
        x = b.add(f"norm{part + 1}", InstanceNorm(), x) if part else x
        x = b.add(f"relu{part + 1}", LeakyReLU(negative_slope=SLOPE), x)
    return b.build({"logits": b.add(f"conv{len(widths) + 1}", Conv(out_channels=1, kernel_size=4, padding=1), x)})


def _generator(name: str, width: int, blocks: int, facts: Facts) -> Architecture:
    return Architecture(
        name=name,
        family="cyclegan",
        task="generation",
        year=2017,
        source="arXiv:1703.10593, appendix 7.2, as the authors' PyTorch code (biases, instance norm without weights)",
        build=partial(build_generator, name, width, blocks),
        facts=facts,
        num_classes=0,
    )


def _patchgan(name: str, widths: tuple[int, ...], facts: Facts) -> Architecture:
    return Architecture(
        name=name,
        family="cyclegan",
        task="discrimination",
        year=2016,
        source="arXiv:1611.07004, appendix 6.1.2, as the authors' PyTorch code with instance norm",
        build=partial(build_patchgan, name, widths),
        facts=facts,
        num_classes=0,
    )


ARCHITECTURES = (
    _generator("cyclegan_generator", 64, 9, Facts(parameters=11_378_179, macs=49_551_507_456, input=(3, 256, 256))),
    _patchgan("patchgan", (64, 128, 256, 512), Facts(parameters=2_764_737, macs=3_146_809_344, input=(3, 256, 256))),
    # 2,368 + 4,640 + 18,496, two blocks of 2 36,928, 18,464 + 4,624 + 2,355; and 784 + 8,224 + 32,832 + 1,025.
    _generator("cyclegan_generator_tiny", 16, 2, Facts(parameters=198_659, macs=18_972_672, input=(3, 32, 32))),
    _patchgan("patchgan_tiny", (16, 32, 64), Facts(parameters=42_865, macs=2_363_392, input=(3, 32, 32))),
)
