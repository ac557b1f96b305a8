"""Smooth activations: cases shared by all backends."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.layers import Layer, Shape
from cnnbench.spec.layers.smooth import CELU, ELU, GELU, SELU, Mish, SiLU, Softplus, Softsign


def all_sizes(generator: Any, shape: Shape) -> Any:
    """Both signs, magnitudes from 1e-6 to 30: where exp(x) - 1 cancels, and where functions saturate."""
    signs = 1 - 2 * generator.integers(0, 2, shape)
    return signs * 10 ** generator.uniform(-6, 1.48, shape)


def _around_the_cut(generator: Any, shape: Shape) -> Any:
    """Around ln(eps) + 2 of float32 and float64, where TensorFlow's softplus turns into exp."""
    return generator.choice([-13.94, -34.04], shape) + generator.uniform(-0.3, 0.3, shape)


def _wide(layer: Layer) -> LayerCase:
    return LayerCase(layer, EVEN, draws=(all_sizes,))


CASES = {
    "elu/plain": LayerCase(ELU(), EVEN),
    "elu/all_sizes": _wide(ELU()),
    "elu/alpha": _wide(ELU(alpha=0.3)),
    "celu/plain": _wide(CELU()),
    "celu/alpha": _wide(CELU(alpha=2.5)),
    "selu/plain": LayerCase(SELU(), EVEN),
    "selu/all_sizes": _wide(SELU()),
    "gelu/exact": LayerCase(GELU(), EVEN, scale=2.0),
    "gelu/exact_all_sizes": _wide(GELU()),
    "gelu/tanh": LayerCase(GELU(form="tanh"), EVEN, scale=2.0),
    "gelu/tanh_all_sizes": _wide(GELU(form="tanh")),
    "silu/plain": LayerCase(SiLU(), EVEN, scale=3.0),
    "silu/all_sizes": _wide(SiLU()),
    "silu/quick_gelu": LayerCase(SiLU(beta=1.702), ROW, batch=4, scale=3.0),
    "softplus/plain": LayerCase(Softplus(), EVEN, scale=3.0),
    "softplus/all_sizes": _wide(Softplus()),
    "softplus/around_the_cut": LayerCase(Softplus(), EVEN, draws=(_around_the_cut,)),
    "softplus/beta": _wide(Softplus(beta=2.5)),
    "softsign/plain": _wide(Softsign()),
    "mish/plain": LayerCase(Mish(), EVEN, scale=3.0),
    "mish/all_sizes": _wide(Mish()),
}
