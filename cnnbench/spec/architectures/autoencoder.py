"""Convolutional autoencoders of 28x28 images: a plain one, and a variational one."""

from __future__ import annotations

from cnnbench.spec.architectures import Architecture, Facts, require_no_classes
from cnnbench.spec.composites.resize import Upsample
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Conv, Flatten, Linear, MaxPool, ReLU, Shape, Sigmoid
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.merge import Multiply
from cnnbench.spec.layers.shape import Reshape

WIDTH = 32
VAE_WIDTHS, VAE_HIDDEN, LATENT = (32, 64), 16, 2


def build_conv_autoencoder(image: Shape, num_classes: int) -> Graph:
    """Two poolings down, two repetitions up, 32 channels throughout.

    Args:
        image: The shape of one image, (C, H, W), H and W divisible by 4.
        num_classes: The network has none.

    Shapes:
        image (N, C, H, W) -> image (N, C, H, W), each value between 0 and 1.
    """
    require_no_classes("conv_autoencoder", num_classes)
    b = Builder("conv_autoencoder")
    x = b.input("image", image)
    for part in ("1", "2"):
        with b.scope(f"encoder{part}"):
            x = b.add("relu", ReLU(), b.add("conv", Conv(out_channels=WIDTH, kernel_size=3, padding=1), x))
            x = b.add("pool", MaxPool(kernel_size=2), x)
    for part in ("1", "2"):
        with b.scope(f"decoder{part}"):
            x = b.add("relu", ReLU(), b.add("conv", Conv(out_channels=WIDTH, kernel_size=3, padding=1), x))
            x = b.add("up", Upsample(scale=2.0), x)
    x = b.add("head", Conv(out_channels=image[0], kernel_size=3, padding=1), x)
    return b.build({"image": b.add("sigmoid", Sigmoid(), x)})


def build_conv_vae(image: Shape, num_classes: int) -> Graph:
    """The encoder gives mean and log variance of a latent vector; the decoder an image of a draw from it.

    z = mean + exp(log_variance / 2) noise, with the noise a program input, so that every backend decodes the same draw.

    Args:
        image: The shape of one image, (C, H, W), H and W divisible by 4.
        num_classes: The network has none.

    Shapes:
        image (N, C, H, W), noise (N, 2) -> logits of the image's values (N, C, H, W), mean (N, 2),
        log_variance (N, 2).

    Sources: Kingma, Welling, "Auto-encoding variational Bayes" (2013), section 2.4 for the draw; the layers are those
    of Keras' example "Variational AutoEncoder" (2020).
    """
    require_no_classes("conv_vae", num_classes)
    b = Builder("conv_vae")
    x, noise = b.input("image", image), b.input("noise", (LATENT,))
    for part, width in enumerate(VAE_WIDTHS, 1):
        conv = Conv(out_channels=width, kernel_size=3, stride=2, padding="same")
        x = b.add(f"encoder.relu{part}", ReLU(), b.add(f"encoder.conv{part}", conv, x))
    inside = tuple(x.shape[1:])
    x = b.add("encoder.flatten", Flatten(), x)
    x = b.add("encoder.relu3", ReLU(), b.add("encoder.fc", Linear(out_features=VAE_HIDDEN), x))
    mean = b.add("encoder.mean", Linear(out_features=LATENT), x)
    log_variance = b.add("encoder.log_variance", Linear(out_features=LATENT), x)
    half = b.add("latent.half", Affine(scale=0.5), log_variance)
    deviation = b.add("latent.deviation", Elementwise(function="exp"), half)
    z = b.add("latent.draw", Add(), mean, b.add("latent.scaled", Multiply(), deviation, noise))
    return b.build({"logits": _decoded(b, z, inside, image[0]), "mean": mean, "log_variance": log_variance})


def build_conv_vae_decoder(image: Shape) -> Graph:
    """The decoder of ``conv_vae`` alone, by the same names: of a draw from the prior, an image.

    Args:
        image: As in ``build_conv_vae``.

    Shapes:
        latent (N, 2) -> image (N, C, H, W), each value between 0 and 1.
    """
    b = Builder("conv_vae_decoder")
    inside = (VAE_WIDTHS[-1], *(-(-side // 2 ** len(VAE_WIDTHS)) for side in image[1:]))
    logits = _decoded(b, b.input("latent", (LATENT,)), inside, image[0])
    return b.build({"image": b.add("decoder.sigmoid", Sigmoid(), logits)})


def _decoded(b: Builder, z: Value, inside: Shape, channels: int) -> Value:
    """Logits of the values of an image from a latent vector. Args: inside: the shape of the smallest maps."""
    count = inside[0] * inside[1] * inside[2]
    x = b.add("decoder.relu1", ReLU(), b.add("decoder.fc", Linear(out_features=count), z))
    x = b.add("decoder.reshape", Reshape(shape=inside), x)
    for part, width in enumerate(reversed(VAE_WIDTHS), 2):
        conv_up = ConvTranspose(out_channels=width, kernel_size=3, stride=2, padding="same")
        x = b.add(f"decoder.relu{part}", ReLU(), b.add(f"decoder.conv{part}", conv_up, x))
    return b.add("decoder.head", ConvTranspose(out_channels=channels, kernel_size=3, padding="same"), x)


ARCHITECTURES = (
    Architecture(
        name="conv_autoencoder",
        family="autoencoder",
        task="reconstruction",
        year=2016,
        source='Chollet, "Building autoencoders in Keras" (2016), the denoising autoencoder',
        build=build_conv_autoencoder,
        # 320 + 3 9,248 + 289. MACs: 288 28^2 + 9,216 (14^2 + 7^2 + 14^2) + 288 28^2.
        facts=Facts(parameters=28_353, macs=4_515_840, input=(1, 28, 28)),
        num_classes=0,
    ),
    Architecture(
        name="conv_vae",
        family="autoencoder",
        task="generation",
        year=2013,
        source='arXiv:1312.6114; layers of Keras\' example "Variational AutoEncoder" (2020)',
        build=build_conv_vae,
        # Encoder 320 + 18,496 + 50,192 + 34 + 34, decoder 9,408 + 36,928 + 18,464 + 289. MACs: 288 14^2 + 18,432 7^2 +
        # 50,176 + 64 and 6,272 + 36,864 7^2 + 18,432 14^2 + 288 28^2.
        facts=Facts(parameters=134_165, macs=6_660_928, input=(1, 28, 28)),
        num_classes=0,
    ),
)
