"""Adversarial autoencoder (Makhzani et al. 2015): an autoencoder whose latent vectors a discriminator shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts, Task, require_no_classes
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Flatten, Linear, ReLU, Shape, Sigmoid
from cnnbench.spec.layers.shape import Reshape


class _Variant(NamedTuple):
    """Appendix A.

    Args:
        hidden: Units of each of the two hidden layers of all three networks.
        latent: The length of the latent vector.
        image: Of the decoder, which cannot see it.
    """

    name: str
    hidden: int
    latent: int
    image: Shape


FULL = _Variant("adversarial_autoencoder", 1000, 8, (1, 28, 28))
TINY = _Variant("adversarial_autoencoder_tiny", 128, 8, (1, 28, 28))


def build_autoencoder(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """Encoder and decoder in one: what the reconstruction phase trains.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W).
        num_classes: The network has none.

    Shapes:
        image (N, C, H, W) -> image (N, C, H, W), each value between 0 and 1, latent (N, Z).
    """
    require_no_classes(variant.name, num_classes)
    b = Builder(variant.name)
    latent = _encoded(b, variant, b.input("image", image))
    return b.build({"image": _decoded(b, variant, latent, image), "latent": latent})


def build_encoder(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The deterministic encoder q(z|x), the generator of the regularisation phase.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W).
        num_classes: The network has none.

    Shapes:
        image (N, C, H, W) -> latent (N, Z).
    """
    require_no_classes(f"{variant.name}_encoder", num_classes)
    b = Builder(f"{variant.name}_encoder")
    return b.build({"latent": _encoded(b, variant, b.input("image", image))})


def build_decoder(variant: _Variant, latent: Shape, num_classes: int) -> Graph:
    """The decoder p(x|z): of a draw from the prior, an image.

    Args:
        variant: The registered network, whose image it gives.
        latent: (Z,), the shape of one latent vector.
        num_classes: The network has none.

    Shapes:
        latent (N, Z) -> image (N, C, H, W), each value between 0 and 1.
    """
    require_no_classes(f"{variant.name}_decoder", num_classes)
    b = Builder(f"{variant.name}_decoder")
    return b.build({"image": _decoded(b, variant, b.input("latent", latent), variant.image)})


def build_discriminator(variant: _Variant, latent: Shape, num_classes: int) -> Graph:
    """From a latent vector to the logit of its being a draw from the prior.

    Args:
        variant: The registered network.
        latent: (Z,), the shape of one latent vector.
        num_classes: The network has none.

    Shapes:
        latent (N, Z) -> logits (N, 1).
    """
    require_no_classes(f"{variant.name}_discriminator", num_classes)
    b = Builder(f"{variant.name}_discriminator")
    return b.build({"logits": _perceptron(b, "discriminator", variant.hidden, 1, b.input("latent", latent))})


def _encoded(b: Builder, variant: _Variant, image: Value) -> Value:
    return _perceptron(b, "encoder", variant.hidden, variant.latent, b.add("encoder.flatten", Flatten(), image))


def _decoded(b: Builder, variant: _Variant, latent: Value, image: Shape) -> Value:
    x = _perceptron(b, "decoder", variant.hidden, image[0] * image[1] * image[2], latent)
    return b.add("decoder.image", Reshape(shape=image), b.add("decoder.sigmoid", Sigmoid(), x))


def _perceptron(b: Builder, scope: str, hidden: int, out_features: int, x: Value) -> Value:
    with b.scope(scope):
        for part in ("1", "2"):
            x = b.add(f"relu{part}", ReLU(), b.add(f"fc{part}", Linear(out_features=hidden), x))
        return b.add("fc3", Linear(out_features=out_features), x)


_PARTS: tuple[tuple[str, Task, Callable[[_Variant, Shape, int], Graph]], ...] = (
    ("", "reconstruction", build_autoencoder),
    ("_encoder", "reconstruction", build_encoder),
    ("_decoder", "generation", build_decoder),
    ("_discriminator", "discrimination", build_discriminator),
)


# Each layer has (I + 1) O parameters and I O multiply-accumulates: encoder 784, 1000, 1000, 8, decoder the reverse,
# discriminator 8, 1000, 1000, 1. The tiny ones have 128 for 1000.
_FACTS = {
    "adversarial_autoencoder": (3_588_792, 3_584_000),
    "adversarial_autoencoder_encoder": (1_794_008, 1_792_000),
    "adversarial_autoencoder_decoder": (1_794_784, 1_792_000),
    "adversarial_autoencoder_discriminator": (1_011_001, 1_009_000),
    "adversarial_autoencoder_tiny": (236_824, 235_520),
    "adversarial_autoencoder_tiny_encoder": (118_024, 117_760),
    "adversarial_autoencoder_tiny_decoder": (118_800, 117_760),
    "adversarial_autoencoder_tiny_discriminator": (17_793, 17_536),
}


def _architecture(
    variant: _Variant, part: str, task: Task, build: Callable[[_Variant, Shape, int], Graph]
) -> Architecture:
    name = variant.name + part
    parameters, macs = _FACTS[name]
    of_image = part in ("", "_encoder")
    return Architecture(
        name=name,
        family="adversarial_autoencoder",
        task=task,
        year=2015,
        source="arXiv:1511.05644, appendix A.1",
        build=partial(build, variant),
        facts=Facts(parameters=parameters, macs=macs, input=variant.image if of_image else (variant.latent,)),
        num_classes=0,
    )


ARCHITECTURES = tuple(_architecture(variant, *part) for variant in (FULL, TINY) for part in _PARTS)
