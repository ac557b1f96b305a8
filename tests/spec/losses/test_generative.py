"""Losses of generative networks, against torch.nn.functional."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.losses import VAE, LeastSquares, NoisePrediction, NonSaturating, loss_from_fields

RNG = np.random.default_rng(3)
IMAGE = (3, 1, 4, 5)
CODE = {
    "logits": RNG.normal(size=IMAGE) * 3,
    "mean": RNG.normal(size=(3, 2)),
    "log_variance": RNG.normal(size=(3, 2)),
}
JUDGED = {"real": RNG.normal(size=(3, 1, 2, 2)), "fake": RNG.normal(size=(3, 1, 3, 2))}


@pytest.mark.torch
@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
@pytest.mark.parametrize("pixels", ["sum", "mean"])
def test_vae_equals_pytorch(equals_pytorch, reconstruction, pixels):
    from torch.nn import functional

    def expected(outputs, targets):
        logits, mean, log_variance = outputs.values()
        if reconstruction == "bce":
            of_pixels = functional.binary_cross_entropy_with_logits(logits, targets["image"], reduction="sum")
        else:
            of_pixels = functional.mse_loss(logits.sigmoid(), targets["image"], reduction="sum")
        count = 3 if pixels == "sum" else logits.numel()
        divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum() / 3
        return of_pixels / count + 0.7 * divergence

    loss = VAE(beta=0.7, reconstruction=reconstruction, pixels=pixels)
    equals_pytorch(loss, CODE, {"image": RNG.uniform(size=IMAGE)}, expected)


def test_the_terms_of_a_vae_come_with_it(of_outputs):
    value, terms, _ = of_outputs(VAE(beta=2.0), CODE, {"image": RNG.uniform(size=IMAGE)})
    assert value == pytest.approx(terms["reconstruction"] + 2 * terms["divergence"])


@pytest.mark.torch
@pytest.mark.parametrize("side", ["discriminator", "generator"])
def test_adversaries_equal_pytorch(equals_pytorch, side):
    import torch
    from torch.nn import functional

    entropy = functional.binary_cross_entropy_with_logits

    def saturating_not(outputs, targets):
        real, fake = outputs.values()
        if side == "generator":
            return entropy(fake, torch.ones_like(fake))
        return entropy(real, 0.9 * torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))

    def squares(outputs, targets):
        real, fake = outputs.values()
        if side == "generator":
            return functional.mse_loss(fake, torch.ones_like(fake)) / 2
        return (functional.mse_loss(real, torch.ones_like(real)) + fake.pow(2).mean()) / 2

    for loss, expected in ((NonSaturating(side=side, label=0.9), saturating_not), (LeastSquares(side=side), squares)):
        equals_pytorch(loss, JUDGED, {}, expected)


def test_a_generator_is_not_judged_on_real_images(of_outputs):
    _, terms, gradients = of_outputs(NonSaturating(side="generator", fake="real"), {"real": JUDGED["real"]})
    assert set(terms) == {"loss"}
    assert (gradients["real"] < 0).all()  # the surer it is that they are real, the better


@pytest.mark.torch
def test_noise_prediction_equals_pytorch(equals_pytorch):
    from torch.nn import functional

    found, noise = RNG.normal(size=IMAGE), RNG.normal(size=IMAGE)
    equals_pytorch(
        NoisePrediction(), {"noise": found}, {"noise": noise}, lambda o, t: functional.mse_loss(o["noise"], t["noise"])
    )


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("vae", {"beta": -1.0}, "beta is not valid"),
        ("vae", {"reconstruction": "l1"}, "reconstruction is not valid"),
        ("least_squares_gan", {"scale": 0.0}, "scale is not valid"),
        ("non_saturating_gan", {"label": 0.5}, "label is not valid"),
        ("non_saturating_gan", {"side": "both"}, "side is not valid"),
    ],
)
def test_what_cannot_be_is_refused(kind, fields, message):
    with pytest.raises(SpecError, match=message):
        loss_from_fields(kind, fields)
