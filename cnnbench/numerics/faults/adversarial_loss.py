"""Faults of losses of two adversaries, as layers."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.drawn import Drawn, normal, on
from cnnbench.spec.composites.adversarial_loss import LeastSquaresGAN, NonSaturatingGAN

_JUDGED = Drawn((1, 4, 5), normal())

FAULTS = (
    Fault(
        "least_squares_gan.fake_label",
        "least_squares_gan",
        "fakes judged against -1 where 0 was asked for (the paper's other choice of labels)",
        on(LeastSquaresGAN(label=0.0), _JUDGED),
        operation=other_layer(lambda layer: replace(layer, label=-1.0)),
    ),
    Fault(
        "non_saturating_gan.saturating",
        "non_saturating_gan",
        "the generator's loss as in the first equation, of judgements that its images are made ones",
        on(NonSaturatingGAN(label=1.0), _JUDGED),
        operation=other_layer(lambda layer: replace(layer, label=0.0)),
    ),
    Fault(
        "non_saturating_gan.two_sided",
        "non_saturating_gan",
        "labels smoothed towards a half where one side was asked for",
        on(NonSaturatingGAN(label=0.0), _JUDGED),
        operation=other_layer(lambda layer: replace(layer, label=0.1)),
    ),
)
