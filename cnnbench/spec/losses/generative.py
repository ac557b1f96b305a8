"""Losses of generative networks: variational autoencoders, adversaries, denoisers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cnnbench.errors import FieldError
from cnnbench.spec.composites.adversarial_loss import LeastSquaresGAN, NonSaturatingGAN
from cnnbench.spec.composites.element_loss import BCEWithLogitsLoss, MSELoss, VAEDivergence
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Layer, Shape, Sigmoid
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.losses.base import JointLoss, LossTarget
from cnnbench.spec.losses.drawn import normal, shares


@dataclass(frozen=True, kw_only=True)
class VAE(JointLoss, kind="vae"):
    """Reconstruction + beta x divergence of the code's distribution from the standard normal one.

    The divergence is summed over the code and averaged over images. The reconstruction is, with ``pixels`` ``sum``,
    summed over an image's values too, which makes the whole the negative evidence bound of Bernoulli pixels (``bce``);
    with ``mean`` it is averaged over them, which weighs the divergence as often more as an image has values.

    Args:
        beta: Weight of the divergence; 1 is the bound, more is the beta-VAE.
        reconstruction: ``bce`` of logits and image, or ``mse``: (sigmoid(logit) - image)^2.
        pixels: ``sum`` or ``mean``.
        target: The input that is to be given back: by default the network's own input ``image``.

    Shapes:
        outputs logits S, mean (N, Z), log_variance (N, Z), target S with values from 0 to 1 -> terms loss,
        reconstruction, divergence, each (). Sources: arXiv:1312.6114, equation 10; Higgins et al., "beta-VAE" (2017).
    """

    beta: float = 1.0
    reconstruction: Literal["bce", "mse"] = "bce"
    pixels: Literal["sum", "mean"] = "sum"
    target: str = "image"

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise FieldError("beta", received=self.beta, expected="0 or more")

    def reads(self, graph: Graph) -> tuple[str, ...]:
        return ("logits", "mean", "log_variance")

    def targets(self, outputs: Mapping[str, Shape]) -> tuple[LossTarget, ...]:
        return (LossTarget(self.target, outputs["logits"][1:], shares),)

    def terms(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        logits, mean, log_variance = outputs.values()
        target = targets[self.target]
        reduction: Literal["batch_mean", "mean"] = "batch_mean" if self.pixels == "sum" else "mean"
        if self.reconstruction == "bce":
            made = builder.add("reconstruction", BCEWithLogitsLoss(reduction=reduction), logits, target)
        else:
            pixels = builder.add("pixels", Sigmoid(), logits)
            made = builder.add("reconstruction", MSELoss(reduction=reduction), pixels, target)
        divergence = builder.add("divergence", VAEDivergence(), mean, log_variance)
        weighted = builder.add("beta", Affine(scale=self.beta), divergence)
        return {
            "loss": builder.add("loss", Add(), made, weighted),
            "reconstruction": made,
            "divergence": divergence,
        }


@dataclass(frozen=True, kw_only=True)
class Adversary(JointLoss):
    """The loss of one of two adversaries, of a discriminator's judgements on real and on made images.

    ``discriminator``: the mean over the real ones' judgements that they are real, plus that over the made ones' that
    they are not. ``generator``: the mean over the made ones' judgements that they are real.

    Args:
        side: Whose loss it is.
        real, fake: The outputs that hold the judgements; ``generator`` reads only ``fake``. They need not be of
            equal shapes.
        scale: Of the whole.
    """

    side: Literal["discriminator", "generator"] = "discriminator"
    real: str = "real"
    fake: str = "fake"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise FieldError("scale", received=self.scale, expected="a positive number")

    def reads(self, graph: Graph) -> tuple[str, ...]:
        return (self.real, self.fake) if self.side == "discriminator" else (self.fake,)

    def targets(self, outputs: Mapping[str, Shape]) -> tuple[LossTarget, ...]:
        return ()

    def judged(self, *, real: bool) -> Layer:
        """The loss of judgements that should say so."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it is")

    def terms(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        if self.side == "generator":
            return {"loss": self._scaled(builder, builder.add("fake", self.judged(real=True), outputs[self.fake]))}
        real = builder.add("real", self.judged(real=True), outputs[self.real])
        fake = builder.add("fake", self.judged(real=False), outputs[self.fake])
        return {"loss": self._scaled(builder, builder.add("both", Add(), real, fake)), "real": real, "fake": fake}

    def _scaled(self, builder: Builder, value: Value) -> Value:
        return value if self.scale == 1 else builder.add("loss", Affine(scale=self.scale), value)


@dataclass(frozen=True, kw_only=True)
class LeastSquares(Adversary, kind="least_squares_gan"):
    """Means of (D - 1)^2 where it should say real, of D^2 where not; ``scale`` 1/2 in the paper.

    CycleGAN has 1/2 for the discriminator and 1 for the generator.

    Args:
        side: As ``Adversary``.
        real, fake: As ``Adversary``.
        scale: Of the whole.

    Shapes: outputs of any shape -> (). Source: arXiv:1611.04076, equation 9.
    """

    scale: float = 0.5

    def judged(self, *, real: bool) -> Layer:
        return LeastSquaresGAN(label=float(real), scale=1.0)


@dataclass(frozen=True, kw_only=True)
class NonSaturating(Adversary, kind="non_saturating_gan"):
    """Means of -log s(D) where it should say real, of -log(1 - s(D)) where not, s the sigmoid, D logits.

    Args:
        side: As ``Adversary``.
        real, fake: As ``Adversary``.
        scale: Of the whole.
        label: What the discriminator should say of real images: 1, or less to keep it from being too sure (0.9 in
            arXiv:1606.03498, section 3.4). The generator's label stays 1.

    Shapes: outputs of any shape -> (). Source: arXiv:1406.2661, section 3.
    """

    label: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.5 < self.label <= 1:
            raise FieldError("label", received=self.label, expected="more than 0.5, at most 1")

    def judged(self, *, real: bool) -> Layer:
        label = self.label if self.side == "discriminator" else 1.0
        return NonSaturatingGAN(label=label if real else 0.0)


@dataclass(frozen=True, kw_only=True)
class NoisePrediction(JointLoss, kind="noise_prediction"):
    """Mean over all values of (output - noise)^2, DDPM's simple loss.

    Args:
        output: The predicted noise.
        target: The input that holds the noise, the network's own where it is added there.

    Shapes: output S, noise S -> (). Source: arXiv:2006.11239, equation 14.
    """

    output: str = "noise"
    target: str = "noise"

    def reads(self, graph: Graph) -> tuple[str, ...]:
        return (self.output,)

    def targets(self, outputs: Mapping[str, Shape]) -> tuple[LossTarget, ...]:
        return (LossTarget(self.target, outputs[self.output][1:], normal),)

    def terms(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        return {"loss": builder.add("loss", MSELoss(), outputs[self.output], targets[self.target])}
