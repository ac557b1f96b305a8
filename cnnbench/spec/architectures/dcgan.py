"""DCGAN (Radford, Metz, Chintala 2015): a generator and a discriminator of strided convolutions alone."""

from __future__ import annotations

from cnnbench.spec.architectures import Architecture, Facts, require_no_classes
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import BatchNorm, Conv, Flatten, ReLU, Shape, Tanh
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.rectifier import LeakyReLU

LATENT, CHANNELS, WIDTH, SLOPE = 100, 3, 64, 0.2


def build_generator(latent: Shape, num_classes: int) -> Graph:
    """From a latent vector to an image of 64x64: 4x4 transposed convolutions, batch norm and ReLU, tanh at the end.

    Args:
        latent: The shape of one latent vector, (Z, 1, 1).
        num_classes: The network has none.

    Shapes:
        latent (N, Z, 1, 1) -> image (N, 3, 64, 64), each value between -1 and 1.
    """
    require_no_classes("dcgan_generator", num_classes)
    b = Builder("dcgan_generator")
    x = b.input("latent", latent)
    for part, factor in enumerate((8, 4, 2, 1)):
        stride, padding = (2, 1) if part else (1, 0)
        conv = ConvTranspose(out_channels=factor * WIDTH, kernel_size=4, stride=stride, padding=padding, bias=False)
        x = b.add(f"bn{part + 1}", BatchNorm(), b.add(f"conv{part + 1}", conv, x))
        x = b.add(f"relu{part + 1}", ReLU(), x)
    last = ConvTranspose(out_channels=CHANNELS, kernel_size=4, stride=2, padding=1, bias=False)
    return b.build({"image": b.add("tanh", Tanh(), b.add("conv5", last, x))})


def build_discriminator(image: Shape, num_classes: int) -> Graph:
    """From an image of 64x64 to the logit of its being real: 4x4 strided convolutions and leaky ReLU.

    Args:
        image: The shape of one image, (C, 64, 64).
        num_classes: The network has none.

    Shapes:
        image (N, C, 64, 64) -> logits (N, 1).
    """
    require_no_classes("dcgan_discriminator", num_classes)
    b = Builder("dcgan_discriminator")
    x = b.input("image", image)
    for part, factor in enumerate((1, 2, 4, 8)):
        conv = Conv(out_channels=factor * WIDTH, kernel_size=4, stride=2, padding=1, bias=False)
        x = b.add(f"conv{part + 1}", conv, x)
        x = b.add(f"bn{part + 1}", BatchNorm(), x) if part else x
        x = b.add(f"relu{part + 1}", LeakyReLU(negative_slope=SLOPE), x)
    x = b.add("conv5", Conv(out_channels=1, kernel_size=4, bias=False), x)
    return b.build({"logits": b.add("flatten", Flatten(), x)})


SOURCE = "arXiv:1511.06434, figure 1 and section 3, as PyTorch's DCGAN example (no bias before a norm)"

ARCHITECTURES = (
    Architecture(
        name="dcgan_generator",
        family="dcgan",
        task="generation",
        year=2015,
        source=SOURCE,
        build=build_generator,
        facts=Facts(parameters=3_576_704, macs=104_628_224, input=(LATENT, 1, 1)),
        num_classes=0,
    ),
    Architecture(
        name="dcgan_discriminator",
        family="dcgan",
        task="discrimination",
        year=2015,
        source=SOURCE,
        build=build_discriminator,
        facts=Facts(parameters=2_765_568, macs=103_817_216, input=(CHANNELS, 64, 64)),
        num_classes=0,
    ),
)
