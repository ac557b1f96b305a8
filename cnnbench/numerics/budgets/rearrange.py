"""Budgets of layers that rearrange channels and positions."""

from __future__ import annotations

from cnnbench.numerics.budgets.base import (
    exact_on_integers,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs

_KINDS = ("channel_shuffle", "depth_to_space", "space_to_depth")

exact_on_integers(*_KINDS)

forward_formula(*_KINDS)(exact_outputs)
gradient_formula(*_KINDS)(exact_gradients)
