"""DCGAN (Radford, Metz, Chintala 2015): a generator and a discriminator of strided convolutions alone."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts, require_no_classes
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import BatchNorm, Conv, Flatten, ReLU, Shape, Tanh
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.rectifier import LeakyReLU

SLOPE = 0.2


class _Variant(NamedTuple):
    """Figure 1.

    Args:
        suffix: Of the two networks' names.
        latent: The length of the latent vector.
        channels: Of the image.
        widths: Channels of the generator's layers but the last; of the discriminator's in reverse.
        first: The side of the smallest map. The image's is ``first`` 2^len(widths).
    """

    suffix: str
    latent: int
    channels: int
    widths: tuple[int, ...]
    first: int

    @property
    def side(self) -> int:
        """Of the image."""
        return self.first << len(self.widths)


FULL = _Variant("", 100, 3, (512, 256, 128, 64), 4)
TINY = _Variant("_tiny", 32, 1, (64, 32), 7)


def build_generator(variant: _Variant, latent: Shape, num_classes: int) -> Graph:
    """From a latent vector to an image: 4x4 transposed convolutions, batch norm and ReLU, tanh at the end.

    Args:
        variant: The registered network.
        latent: The shape of one latent vector, (Z, 1, 1).
        num_classes: The network has none.

    Shapes:
        latent (N, Z, 1, 1) -> image (N, C, H, W), 3x64x64 in the paper, each value between -1 and 1.
    """
    name = f"dcgan_generator{variant.suffix}"
    require_no_classes(name, num_classes)
    b = Builder(name)
    x = b.input("latent", latent)
    for part, width in enumerate(variant.widths):
        kernel, stride, padding = (4, 2, 1) if part else (variant.first, 1, 0)
        conv = ConvTranspose(out_channels=width, kernel_size=kernel, stride=stride, padding=padding, bias=False)
        x = b.add(f"bn{part + 1}", BatchNorm(), b.add(f"conv{part + 1}", conv, x))
        x = b.add(f"relu{part + 1}", ReLU(), x)
    last = ConvTranspose(out_channels=variant.channels, kernel_size=4, stride=2, padding=1, bias=False)
    return b.build({"image": b.add("tanh", Tanh(), b.add(f"conv{len(variant.widths) + 1}", last, x))})


def build_discriminator(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """From an image to the logit of its being real: 4x4 strided convolutions and leaky ReLU.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W), H and W as the generator makes them.
        num_classes: The network has none.

    Shapes:
        image (N, C, H, W) -> logits (N, 1).
    """
    name = f"dcgan_discriminator{variant.suffix}"
    require_no_classes(name, num_classes)
    b = Builder(name)
    x = b.input("image", image)
    for part, width in enumerate(reversed(variant.widths)):
        conv = Conv(out_channels=width, kernel_size=4, stride=2, padding=1, bias=False)
        x = b.add(f"conv{part + 1}", conv, x)
        x = b.add(f"bn{part + 1}", BatchNorm(), x) if part else x
        x = b.add(f"relu{part + 1}", LeakyReLU(negative_slope=SLOPE), x)
    last = Conv(out_channels=1, kernel_size=variant.first, bias=False)
    x = b.add(f"conv{len(variant.widths) + 1}", last, x)
    return b.build({"logits": b.add("flatten", Flatten(), x)})


SOURCE = "arXiv:1511.06434, figure 1 and section 3, as PyTorch's DCGAN example (no bias before a norm)"


def _architectures(
    variant: _Variant, generator: tuple[int, int], discriminator: tuple[int, int]
) -> tuple[Architecture, ...]:
    """Both networks.

    Args:
        variant: Their sizes.
        generator: Parameters and multiply-accumulates.
        discriminator: The same.
    """
    return (
        Architecture(
            name=f"dcgan_generator{variant.suffix}",
            family="dcgan",
            task="generation",
            year=2015,
            source=SOURCE,
            build=partial(build_generator, variant),
            facts=Facts(parameters=generator[0], macs=generator[1], input=(variant.latent, 1, 1)),
            num_classes=0,
        ),
        Architecture(
            name=f"dcgan_discriminator{variant.suffix}",
            family="dcgan",
            task="discrimination",
            year=2015,
            source=SOURCE,
            build=partial(build_discriminator, variant),
            facts=Facts(
                parameters=discriminator[0], macs=discriminator[1], input=(variant.channels, variant.side, variant.side)
            ),
            num_classes=0,
        ),
    )


ARCHITECTURES = (
    *_architectures(FULL, (3_576_704, 104_628_224), (2_765_568, 103_817_216)),
    # 28x28: 32 64 49 + 64 32 16 + 32 16 and norms of 2 96; 32 16 + 32 64 16 + 64 49 and a norm of 2 64.
    *_architectures(TINY, (133_824, 1_806_336), (36_544, 1_709_120)),
)
