"""Arithmetic on single values."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Parameter, Power
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def absolute(x: Array) -> Array:
    """|x| with the gradient 0 at 0; that of ``jnp.abs`` is 1 there."""
    return lax.stop_gradient(jnp.sign(x)) * x


@jax.custom_jvp
def log1p(x: Array) -> Array:
    """log(1 + x). XLA's own in float64 errs by 240 roundings on the CPU (jaxlib 0.10.2, near x = -0.414).

    Kahan's correction, u = 1 + x as it is rounded: log(u) x / (u - 1); the barrier keeps u - 1 from becoming x.
    """
    if x.dtype != jnp.float64:
        return jnp.log1p(x)
    u = lax.optimization_barrier(1 + x)
    difference = u - 1
    exact = (difference == 0) | jnp.isinf(u)
    corrected = jnp.log(u) * (x / jnp.where(exact, 1, difference))
    return jnp.where(exact, x, corrected)


@log1p.defjvp
def _log1p_slope(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return log1p(primals[0]), tangents[0] / (1 + primals[0])


@jax.custom_jvp
def arctanh(x: Array) -> Array:
    """The inverse of tanh, of which XLA makes two ``log1p``."""
    return jnp.arctanh(x) if x.dtype != jnp.float64 else 0.5 * (log1p(x) - log1p(-x))


@arctanh.defjvp
def _arctanh_slope(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return arctanh(primals[0]), tangents[0] / ((1 - primals[0]) * (1 + primals[0]))


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "abs": absolute,
    "negate": jnp.negative,
    "sign": jnp.sign,
    "floor": jnp.floor,
    "ceil": jnp.ceil,
    "round": jnp.rint,
    "square": jnp.square,
    "sqrt": jnp.sqrt,
    "rsqrt": lax.rsqrt,
    "reciprocal": jnp.reciprocal,
    "exp": jnp.exp,
    "expm1": jnp.expm1,
    "log": jnp.log,
    "log1p": log1p,
    "erf": lax.erf,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "tan": jnp.tan,
    "asin": jnp.arcsin,
    "acos": jnp.arccos,
    "atan": jnp.arctan,
    "sinh": jnp.sinh,
    "cosh": jnp.cosh,
    "asinh": jnp.arcsinh,
    "acosh": jnp.arccosh,
    "atanh": arctanh,
}


@OPERATIONS.register("parameter")
def parameter(layer: Parameter, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The value itself."""
    return OpResult(weights)


@OPERATIONS.register("elementwise")
def elementwise(layer: Elementwise, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The function of that name."""
    return OpResult((FUNCTIONS[layer.function](inputs[0]),))


@OPERATIONS.register("scalar_affine")
def affine(layer: Affine, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A product and a sum, without those that change nothing."""
    y = inputs[0] if layer.scale == 1 else inputs[0] * layer.scale
    return OpResult((y if layer.shift == 0 else y + layer.shift,))


@OPERATIONS.register("clip")
def clip(layer: Clip, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Choices by ``where``: ``jnp.clip`` gives half of the gradient at a limit, ``lax.clamp`` none."""
    y = inputs[0]
    if layer.minimum is not None:
        y = jnp.where(y < layer.minimum, jnp.asarray(layer.minimum, y.dtype), y)
    if layer.maximum is not None:
        y = jnp.where(y > layer.maximum, jnp.asarray(layer.maximum, y.dtype), y)
    return OpResult((y,))


OPERATIONS.lacks("scalar_power", "the square root of -inf as a power is inf (IEEE 754's pow)", special_values="always")


@OPERATIONS.register("scalar_power")
def power(layer: Power, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``lax.integer_pow`` for whole exponents, which is a few products; else ``jnp.power``."""
    if layer.is_whole and abs(layer.exponent) <= 32:
        return OpResult((lax.integer_pow(inputs[0], int(layer.exponent)),))
    return OpResult((jnp.power(inputs[0], layer.exponent),))
