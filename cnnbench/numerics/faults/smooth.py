"""Faults of smooth activations: another form, or a constant left out."""

from __future__ import annotations

from cnnbench.numerics.faults.engine.base import Fault, other_kind, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers.smooth import ELU, GELU, SELU, SiLU, Softplus

_IMAGE = SuspectNetwork((4, 8, 7))


FAULTS = (
    Fault(
        "gelu.tanh_form",
        "gelu",
        "the approximation by tanh (the default of JAX and keras.ops) where the exact function was asked for",
        surrounded(GELU(), _IMAGE),
        operation=other_layer(lambda layer: GELU(form="tanh")),
    ),
    Fault(
        "gelu.sigmoid_form",
        "gelu",
        "x sigmoid(1.702 x) (CLIP's quick GELU) where the exact function was asked for",
        surrounded(GELU(), _IMAGE),
        operation=other_kind(lambda layer: SiLU(beta=1.702)),
    ),
    Fault(
        "silu.beta_ignored",
        "silu",
        "x sigmoid(x) whatever beta is",
        surrounded(SiLU(beta=1.702), _IMAGE),
        operation=other_layer(lambda layer: SiLU()),
    ),
    Fault(
        "softplus.beta_ignored",
        "softplus",
        "log(1 + exp(x)) whatever beta is (TensorFlow and JAX have no beta)",
        surrounded(Softplus(beta=2.0), _IMAGE),
        operation=other_layer(lambda layer: Softplus()),
    ),
    Fault(
        "elu.alpha_ignored",
        "elu",
        "alpha taken as 1 (TensorFlow's function has none)",
        surrounded(ELU(alpha=0.5), _IMAGE),
        operation=other_layer(lambda layer: ELU()),
    ),
    Fault(
        "selu.unscaled",
        "selu",
        "an ELU of SELU's alpha, without its scale",
        surrounded(SELU(), _IMAGE),
        operation=other_kind(lambda layer: ELU(alpha=layer.ALPHA)),
    ),
)
