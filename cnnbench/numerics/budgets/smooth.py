"""Rounding-error budgets of smooth activations (GELU, SiLU, ELU, softplus, Mish), derived from the terms they sum.

For example, softsign x / (1 + |x|) is one term with five roundings: its budget is c(5, u) |x| / (1 + |x|).

GELU is 0.5 x (1 + erf(x / sqrt 2)). For x = -3 the terms 1 and -0.997 nearly cancel, and every good implementation
loses digits. Its budget is therefore relative to the sum of the terms' magnitudes, 1.997, not to the small result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.activation import FUNCTION
from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.hard_operands import hard_operands, of_every_cube
from cnnbench.numerics.rounding import Roundoff

Array = NDArray[Any]

hard_operands("celu", "elu", "gelu", "mish", "selu", "silu", "softplus", "softsign")(of_every_cube)
TANH_FACTOR = np.sqrt(2 / np.pi)
TANH_CUBE = 0.044715


class _Terms(NamedTuple):
    """The magnitudes from which the error of a value is bounded, where the value is a sum of rounded terms.

    |error| <= c(``roundings``, u) ``size`` + c(2, u) (``cancelled`` + ``conditioning``) + t
    + s (4 |``flushed``| + 8)

    c(n, u) is the factor of n roundings: the sharp one, or gamma in the worst case. t is the error that ``tail``
    describes, and s the most that a denormal loses which is flushed to zero.

    Args:
        size: Sum of the magnitudes of the terms.
        roundings: Number of roundings of each term.
        cancelled: Magnitude of the terms that cancel in a difference such as 1 - t^2; their errors do not cancel.
        conditioning: Sum of |argument| |derivative| over the functions that are applied to a rounded argument.
        tail: The argument z of a softplus, else None. Where z < log(2 u) + 2, TensorFlow returns exp(z) for
            log(1 + exp(z)), with a relative error of exp(z) / 2.
        flushed: The factor of an intermediate value that may be flushed to zero; x in x sigmoid(x).
    """

    size: Array
    roundings: int
    cancelled: Array | float = 0.0
    conditioning: Array | float = 0.0
    tail: Array | None = None
    flushed: Array | float = 0.0

    def budget(self, scale: Array | float, setting: Setting) -> Budget:
        """The budget of ``scale`` times the value. ``scale`` is 1 for an output, the cotangents for a gradient."""
        u = setting.u
        cut_off = self._cut_off(u)
        return both(
            lambda c: np.asarray(
                np.abs(scale)
                * (
                    c(self.roundings, u.stored) * self.size
                    + c(2, u.stored) * (self.cancelled + np.asarray(self.conditioning))
                    + cut_off
                    + 4 * u.smallest * np.abs(self.flushed)
                )
                + 8 * u.smallest
            )
        )

    def _cut_off(self, u: Roundoff) -> Array | float:
        if self.tail is None:
            return 0.0
        below = self.tail < np.log(2 * u.accumulated) + 2
        return np.where(below, np.exp(np.minimum(self.tail, 0.0)) / 2 * self.size, 0.0)


Rule = Callable[[Any, Array], _Terms]


def _formulas(kind: str, value: Rule, slope: Rule) -> None:
    """Registers the forward and gradient budgets of a kind, from the terms of its value and of its derivative."""

    def forward(setting: Setting) -> ForwardBudget:
        return ForwardBudget((value(setting.layer, setting.call.inputs[0]).budget(1.0, setting),))

    def gradient(setting: GradientSetting) -> GradientBudget:
        terms = slope(setting.layer, setting.call.inputs[0])
        return GradientBudget((terms.budget(setting.cotangents[0], setting),))

    forward_formula(kind)(forward)
    gradient_formula(kind)(gradient)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, e) / (1 + e))


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def _exponential(alpha: float, scale: float, stretch: float, x: Array) -> _Terms:
    """scale alpha expm1(x / stretch) for x < 0. For x > 0 it is scale x, with at most one rounding."""
    below = np.minimum(x, 0) / stretch
    y = scale * np.where(x > 0, x, alpha * np.abs(np.expm1(below)))
    conditioning = 0.0 if stretch == 1 else np.abs(scale * alpha * below) * np.exp(below)
    exact = scale == 1
    return _Terms(np.where((x > 0) & exact, 0, y), FUNCTION + 3, conditioning=conditioning)


def _exponential_slope(alpha: float, scale: float, stretch: float, x: Array) -> _Terms:
    """scale alpha exp(x / stretch) / stretch for x < 0. Many implementations compute it as y + alpha: two terms."""
    below = np.minimum(x, 0) / stretch
    size = np.where(x > 0, scale, scale * alpha / stretch * (2 - np.exp(below)))
    conditioning = 0.0 if stretch == 1 else np.abs(scale * alpha / stretch * below) * np.exp(below)
    return _Terms(size, FUNCTION + 3, conditioning=conditioning)


_formulas(
    "elu",
    lambda layer, x: _exponential(layer.alpha, 1.0, 1.0, x),
    lambda layer, x: _exponential_slope(layer.alpha, 1.0, 1.0, x),
)
_formulas(
    "celu",
    lambda layer, x: _exponential(layer.alpha, 1.0, layer.alpha, x),
    lambda layer, x: _exponential_slope(layer.alpha, 1.0, layer.alpha, x),
)
_formulas(
    "selu",
    lambda layer, x: _exponential(layer.ALPHA, layer.SCALE, 1.0, x),
    lambda layer, x: _exponential_slope(layer.ALPHA, layer.SCALE, 1.0, x),
)


def _gelu(layer: Any, x: Array) -> _Terms:
    """0.5 x (1 + t), where t is erf or tanh of a rounded argument."""
    t, inner, slope = _gelu_gate(layer, x)
    size, cancelled = 0.5 * np.abs(x) * (1 + np.abs(t)), 0.5 * np.abs(x) * _erf_cut(layer, x)
    return _Terms(size, FUNCTION + 3, cancelled=cancelled, conditioning=0.5 * np.abs(x * inner) * slope)


def _erf_cut(layer: Any, x: Array) -> Array:
    """Magnitude of the terms that cancel where erf is computed as 1 - p(x) exp(-x^2) with a polynomial p.

    The magnitudes of the polynomial's terms sum to 4.5. Half of that is returned, because ``cancelled`` is multiplied
    by the factor of two roundings. PyTorch's kernel for channels-last tensors has this form (error 8.4 u at x = 0.06);
    its kernel for contiguous tensors is more accurate (2.2 u).

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
    """
    return np.asarray(2.25 * np.exp(-0.5 * x * x) if layer.form == "exact" else np.zeros(()))


def _gelu_slope(layer: Any, x: Array) -> _Terms:
    """0.5 (1 + t) + 0.5 x t'(a) a'. With tanh, t' = 1 - t^2 is a difference that cancels, and a' has two terms."""
    t, inner, slope = _gelu_gate(layer, x)
    if layer.form == "exact":
        density = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
        size = 0.5 * (1 + np.abs(t)) + np.abs(x) * density
        conditioning = 0.5 * np.abs(inner) * slope + 0.5 * np.abs(x) ** 3 * density
        return _Terms(size, FUNCTION + 4, cancelled=0.5 * _erf_cut(layer, x), conditioning=conditioning)
    grown = TANH_FACTOR * (1 + 3 * TANH_CUBE * x * x)
    size = 0.5 * (1 + np.abs(t)) + 0.5 * np.abs(x) * slope * grown
    cancelled = 0.5 * np.abs(x) * grown * t * t
    conditioning = 2 * np.abs(inner) * slope * (0.5 + np.abs(x * t) * grown)
    error_of_t = (FUNCTION + 2) * np.abs(x) * t * t * grown  # of 1 - t^2, by the error of t
    return _Terms(size, FUNCTION + 6, cancelled=cancelled + error_of_t / 2, conditioning=conditioning)


def _gelu_gate(layer: Any, x: Array) -> tuple[Array, Array, Array]:
    """t(a), a and t'(a) for t(a) = erf(x / sqrt 2), or tanh(sqrt(2 / pi) (x + 0.044715 x^3))."""
    if layer.form == "exact":
        argument = x / np.sqrt(2)
        # |erf| and tanh of the other form differ by less than 1e-3, which a budget does not notice
        gate = np.tanh(TANH_FACTOR * (x + TANH_CUBE * x**3))
        return gate, argument, 2 / np.sqrt(np.pi) * np.exp(-argument * argument)
    argument = TANH_FACTOR * (x + TANH_CUBE * x**3)
    t = np.tanh(argument)
    return t, 2 * argument, 1 - t * t  # the argument has more than the two roundings that ``conditioning`` counts


_formulas("gelu", _gelu, _gelu_slope)


def _silu(layer: Any, x: Array) -> _Terms:
    """x s with s = sigmoid(beta x). Where beta is not 1, the argument beta x is rounded."""
    scaled = layer.beta * x
    s = _sigmoid(scaled)
    conditioning = np.abs(x * scaled) * s * _sigmoid(-scaled) if layer.beta != 1 else 0.0
    return _Terms(np.abs(x) * s, FUNCTION + 3, conditioning=conditioning, flushed=x)


def _silu_slope(layer: Any, x: Array) -> _Terms:
    """s (1 + beta x (1 - s)). The difference 1 - s keeps the absolute error of s, which has ``FUNCTION`` roundings."""
    scaled = np.abs(layer.beta * x)
    s, rest = _sigmoid(layer.beta * x), _sigmoid(-layer.beta * x)
    conditioning = scaled * s * rest * (2 + scaled) if layer.beta != 1 else 0.0
    cancelled = s * scaled * (1 + FUNCTION / 2 * s)
    return _Terms(s * (1 + scaled * rest), FUNCTION + 5, cancelled=cancelled, conditioning=conditioning, flushed=scaled)


_formulas("silu", _silu, _silu_slope)


def _softplus_terms(layer: Any, x: Array) -> _Terms:
    """log(1 + exp(z)) / beta with z = beta x."""
    z = layer.beta * x
    conditioning = np.abs(x) * _sigmoid(z) if layer.beta != 1 else 0.0
    return _Terms(_softplus(z) / layer.beta, FUNCTION + 4, conditioning=conditioning, tail=z)


def _softplus_slope(layer: Any, x: Array) -> _Terms:
    """sigmoid(z). JAX computes it as exp(z - softplus(z)), whose argument has two rounded terms."""
    z = layer.beta * x
    s = _sigmoid(z)
    return _Terms(s, FUNCTION + 2, conditioning=s * (np.abs(z) + _softplus(z)))


_formulas("softplus", _softplus_terms, _softplus_slope)
_formulas(
    "softsign",
    lambda layer, x: _Terms(np.abs(x) / (1 + np.abs(x)), 5),
    lambda layer, x: _Terms(1 / np.square(1 + np.abs(x)) + np.abs(x) / np.square(1 + np.abs(x)), 8),
)


def _mish(layer: Any, x: Array) -> _Terms:
    """x t with t = tanh(softplus(x)). tanh does not enlarge softplus' relative error, so the roundings of both add."""
    return _Terms(np.abs(x) * np.tanh(_softplus(x)), 2 * FUNCTION + 3, flushed=x)


def _mish_slope(layer: Any, x: Array) -> _Terms:
    """t + x (1 - t^2) s with s = sigmoid(x). The difference 1 - t^2 keeps the absolute error of t."""
    p = _softplus(x)
    t, s = np.tanh(p), _sigmoid(x)
    rest = 1 - t * t
    cancelled = np.abs(x) * s * t * t * (1 + FUNCTION)
    conditioning = np.abs(x) * s * 2 * t * rest * p * FUNCTION / 2 + np.abs(x) * rest * s * (np.abs(x) + p)
    size = t + np.abs(x) * rest * s
    return _Terms(size, 2 * FUNCTION + 4, cancelled=cancelled, conditioning=conditioning, flushed=x)


_formulas("mish", _mish, _mish_slope)
