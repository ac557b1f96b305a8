"""Layers before a function with a limited domain, which map operands into it."""

from __future__ import annotations

from collections.abc import Mapping

from cnnbench.spec.layers import Layer
from cnnbench.spec.layers.arithmetic import Affine, Elementwise, Power
from cnnbench.spec.layers.merge import Divide, PowerOf
from cnnbench.spec.layers.smooth import Softsign

POSITIVE: tuple[Layer, ...] = (Elementwise(function="abs"), Affine(shift=0.1))
ABOVE_ONE: tuple[Layer, ...] = (Elementwise(function="abs"), Affine(shift=1.1))
INNER: tuple[Layer, ...] = (Softsign(), Affine(scale=0.9))
_OF_FUNCTION: Mapping[str, tuple[Layer, ...]] = {
    **dict.fromkeys(("sqrt", "rsqrt", "log", "reciprocal"), POSITIVE),
    **dict.fromkeys(("asin", "acos", "atanh", "log1p", "tan", "exp", "expm1", "sinh", "cosh"), INNER),
    "acosh": ABOVE_ONE,
}


def guard(layer: Layer, position: int) -> tuple[Layer, ...]:
    """The layers before an operand; () where any number will do."""
    if isinstance(layer, Elementwise):
        return _OF_FUNCTION.get(layer.function, ())
    if isinstance(layer, Power):
        return POSITIVE if layer.exponent < 1 or not layer.is_whole else ()
    if isinstance(layer, PowerOf):
        return (POSITIVE, INNER)[position]
    return POSITIVE if isinstance(layer, Divide) and position == 1 else ()
