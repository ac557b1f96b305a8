"""Arithmetic on single values: cases shared by all backends."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from cnnbench.conformance.cases.case import EVEN, Draw, LayerCase
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Function, Parameter, Power


def _within(low: float, high: float) -> Draw:
    def draw(generator: Any, shape: Shape) -> Any:
        return generator.uniform(low, high, shape)

    return draw


def _halves(generator: Any, shape: Shape) -> Any:
    """Multiples of a half from -4 to 4: every other one lies between two integers."""
    return generator.integers(-8, 9, shape) / 2


def _three_values(generator: Any, shape: Shape) -> Any:
    return generator.choice(np.array([-1.0, 0.0, 1.0]), shape)


_POSITIVE, _INNER = _within(0.05, 8.0), _within(-0.95, 0.95)
_DOMAINS: dict[str, Draw] = {
    "sqrt": _POSITIVE,
    "rsqrt": _POSITIVE,
    "log": _POSITIVE,
    "reciprocal": _POSITIVE,
    "log1p": _within(-0.9, 8.0),
    "asin": _INNER,
    "acos": _INNER,
    "atanh": _INNER,
    "acosh": _within(1.1, 8.0),
    "tan": _within(-1.3, 1.3),
}


def _power(exponent: float, draw: Draw | None = None) -> LayerCase:
    return LayerCase(Power(exponent=exponent), EVEN, draws=(draw,))


CASES = {
    "parameter/trained": LayerCase(Parameter(shape=(1, 4, 5, 3)), ()),
    "parameter/one_axis": LayerCase(Parameter(shape=(7,)), ()),
    "parameter/constant": LayerCase(Parameter(shape=(2, 3), trainable=False, distribution="normal", scale=1.0), ()),
    **{
        f"elementwise/{name}": LayerCase(Elementwise(function=name), EVEN, scale=2.0, draws=(_DOMAINS.get(name),))
        for name in get_args(Function)
    },
    # at a jump or a corner, differences find another slope than the one that is written down
    "elementwise/round_halves": LayerCase(Elementwise(function="round"), EVEN, draws=(_halves,), differences=False),
    "elementwise/abs_of_zero": LayerCase(Elementwise(function="abs"), EVEN, draws=(_three_values,)),
    "elementwise/sign_of_zero": LayerCase(
        Elementwise(function="sign"), EVEN, draws=(_three_values,), differences=False
    ),
    "elementwise/expm1_near_zero": LayerCase(Elementwise(function="expm1"), EVEN, scale=1e-4),
    "elementwise/log1p_near_zero": LayerCase(Elementwise(function="log1p"), EVEN, scale=1e-4),
    "elementwise/erf_tails": LayerCase(Elementwise(function="erf"), EVEN, scale=8.0),
    "scalar_affine/plain": LayerCase(Affine(scale=2.5, shift=-0.3), EVEN),
    "scalar_affine/one_number": LayerCase(Affine(scale=2.5, shift=-0.3), ((),), batched=(False,)),
    "scalar_affine/shift": LayerCase(Affine(shift=3.0), EVEN),
    "scalar_affine/scale": LayerCase(Affine(scale=-3.0), EVEN),
    "clip/both": LayerCase(Clip(minimum=-0.7, maximum=0.4), EVEN),
    "clip/minimum": LayerCase(Clip(minimum=0.1), EVEN),
    "clip/maximum": LayerCase(Clip(maximum=-0.1), EVEN),
    "clip/crossed": LayerCase(Clip(minimum=1.0, maximum=-1.0), EVEN),
    "clip/at_the_limits": LayerCase(Clip(minimum=-1.0, maximum=1.0), EVEN, draws=(_three_values,), differences=False),
    "scalar_power/square": _power(2.0),
    "scalar_power/cube": _power(3.0),
    "scalar_power/root": _power(0.5, _POSITIVE),
    "scalar_power/inverse": _power(-1.0, _POSITIVE),
    "scalar_power/inverse_of_negative": _power(-3.0, _within(-4.0, -0.2)),
    "scalar_power/broken": _power(1.7, _POSITIVE),
    "scalar_power/broken_negative": _power(-0.75, _POSITIVE),
    "scalar_power/zero": _power(0.0),
    "scalar_power/one": _power(1.0),
}
