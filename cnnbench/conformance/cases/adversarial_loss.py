"""Losses of two adversaries: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.composites.adversarial_loss import LeastSquaresGAN, NonSaturatingGAN

CASES = {
    "least_squares_gan/real": LayerCase(LeastSquaresGAN(label=1.0), ((1, 4, 5),)),
    "least_squares_gan/fake": LayerCase(LeastSquaresGAN(label=0.0, scale=1.0, reduction="none"), ((1, 4, 5),)),
    "non_saturating_gan/real": LayerCase(NonSaturatingGAN(label=1.0), ((1, 4, 5),), scale=3.0),
    "non_saturating_gan/fake": LayerCase(NonSaturatingGAN(label=0.0, reduction="none"), ((1, 4, 5),), scale=40.0),
    "non_saturating_gan/one_sided": LayerCase(NonSaturatingGAN(label=0.9), ((1,),), scale=3.0),
}
