"""Element-wise operations and reductions of a jaxpr."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from cnnbench.spec.layers import Add, ReLU, ReLU6, Sigmoid, Tanh
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Power
from cnnbench.spec.layers.merge import Divide, Maximum, Minimum, Multiply, PowerOf, Subtract
from cnnbench.spec.layers.reduction import Reduce
from cnnbench_jax.reading.call import JaxCall, reads
from cnnbench_jax.reading.draft import Drafted, Operand, UnreadFormError

_SAME_NAME = ("abs", "sign", "floor", "ceil", "square", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "erf")
_ANGLES = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")


@reads(*_SAME_NAME, *_ANGLES)
def function(call: JaxCall) -> Drafted:
    """A function of the same name."""
    return call.add(Elementwise(function=call.primitive), call.value())  # type: ignore[arg-type]


@reads("neg")
def negate(call: JaxCall) -> Drafted:
    """As a factor of -1."""
    return call.add(Affine(scale=-1.0), call.value())


@reads("logistic", "tanh")
def sigmoid(call: JaxCall) -> Drafted:
    """Their own layers."""
    return call.add(Sigmoid() if call.primitive == "logistic" else Tanh(), call.value())


@reads("erfc")
def complement(call: JaxCall) -> Drafted:
    """1 - erf(x)."""
    return call.add(Affine(scale=-1.0, shift=1.0), call.add(Elementwise(function="erf"), call.value()))


@reads("round")
def rounded(call: JaxCall) -> Drafted:
    """Halves to the even neighbour only."""
    if "EVEN" not in str(call["rounding_method"]):
        raise UnreadFormError("a rounding of halves away from zero: use jnp.round")
    return call.add(Elementwise(function="round"), call.value())


@reads("stop_gradient", "copy", "copy_p", "convert_element_type", "reduce_precision", "optimization_barrier", "real")
def identity(call: JaxCall) -> Operand:
    """The same values, in float64."""
    kind = str(call.parameters.get("new_dtype", "float64"))
    found = call.operands[0]
    if isinstance(found, Drafted) and ("float" not in kind or found.compared):
        raise UnreadFormError(f"values that are converted to {kind}")
    return found


def aligned(call: JaxCall) -> list[Drafted]:
    """Both operands as values of one rank.

    Args:
        call: The operation.
    """
    return [_of_rank(call, position, len(call.shape)) for position in (0, 1)]


def _of_rank(call: JaxCall, position: int, rank: int) -> Drafted:
    from cnnbench.spec.layers.shape import Unsqueeze

    if (fixed := call.fixed(position)) is not None and fixed.array.ndim < rank:
        array = fixed.array.reshape((1,) * (rank - fixed.array.ndim) + fixed.array.shape)
        return call.draft.value(replace(fixed, array=array))
    x = call.value(position)
    return x if len(x.shape) == rank else call.add(Unsqueeze(axes=tuple(range(rank - len(x.shape)))), x)


@reads("add", "add_any")
def add(call: JaxCall) -> Drafted:
    """A number is a shift."""
    for number, other in ((call.number(1), 0), (call.number(0), 1)):
        if number is not None:
            return _affine(call, call.value(other), 1.0, number)
    one, two = aligned(call)
    return call.add(Add(broadcast=one.shape != two.shape), one, two)


@reads("sub")
def subtract(call: JaxCall) -> Drafted:
    """A number is a shift."""
    if (number := call.number(1)) is not None:
        return _affine(call, call.value(0), 1.0, -number)
    if (number := call.number(0)) is not None:
        return _affine(call, call.value(1), -1.0, number)
    return call.add(Subtract(), *aligned(call))


@reads("mul")
def multiply(call: JaxCall) -> Drafted:
    """A number is a factor."""
    for number, other in ((call.number(1), 0), (call.number(0), 1)):
        if number is not None:
            return _affine(call, call.value(other), number, 0.0)
    one, two = aligned(call)
    return call.add(Elementwise(function="square"), one) if one is two else call.add(Multiply(), one, two)


@reads("div")
def divide(call: JaxCall) -> Drafted:
    """By a number it is a factor."""
    if (number := call.number(1)) is not None:
        return _affine(call, call.value(0), 1.0 / number, 0.0)
    if call.number(0) == 1.0:
        return call.add(Elementwise(function="reciprocal"), call.value(1))
    return call.add(Divide(), *aligned(call))


def _affine(call: JaxCall, x: Drafted, scale: float, shift: float) -> Drafted:
    return x if (scale, shift) == (1.0, 0.0) else call.add(Affine(scale=scale, shift=shift), x)


@reads("integer_pow", "pow")
def power(call: JaxCall) -> Drafted:
    """By a number, or by another value."""
    exponent = float(call["y"]) if call.primitive == "integer_pow" else call.number(1)
    if exponent is None:
        return call.add(PowerOf(), *aligned(call))
    if exponent == 2.0:
        return call.add(Elementwise(function="square"), call.value())
    return call.add(Power(exponent=exponent), call.value())


@reads("max", "min")
def extreme(call: JaxCall) -> Drafted:
    """With a number it is a clip: ReLU from 0 on, ReLU6 from 0 to 6."""
    lower = call.primitive == "max"
    for number, other in ((call.number(1), 0), (call.number(0), 1)):
        if number is not None:
            low, high = (number, None) if lower else (None, number)
            return clipped(call, call.value(other), low, high)
    return call.add(Maximum() if lower else Minimum(), *aligned(call))


@reads("clamp")
def clamp(call: JaxCall) -> Drafted:
    """Between two numbers."""
    low, high = call.number(0), call.number(2)
    if low is None or high is None:
        raise UnreadFormError("limits that are not numbers")
    return clipped(call, call.value(1), low, high)


def clipped(call: JaxCall, x: Drafted, low: float | None, high: float | None) -> Drafted:
    """A value between limits; a limit at infinity is none.

    Args:
        call: The operation.
        x: The value.
        low: The least, None for none.
        high: The largest, None for none.
    """
    low, high = (None if n is None or math.isinf(n) else n for n in (low, high))
    if low is None and high is None:
        return x
    if low is None and x.kind in ("relu", "clip") and getattr(x.layer, "maximum", None) is None:
        low = 0.0 if x.kind == "relu" else x.layer.minimum
        x = x.inputs[0]
    layer: Any = Clip(minimum=low, maximum=high)
    return call.add(ReLU() if (low, high) == (0.0, None) else ReLU6() if (low, high) == (0.0, 6.0) else layer, x)


_REDUCTIONS = {"reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod"}


@reads(*_REDUCTIONS)
def reduce(call: JaxCall) -> Drafted:
    """Along axes other than that of the images."""
    from cnnbench_jax.reading.shapes import image_axis

    x = call.value()
    if image_axis(x, call.sources[0]) in call["axes"]:
        raise UnreadFormError("a reduction over the images of a batch")
    layer = Reduce(function=_REDUCTIONS[call.primitive], axes=tuple(call["axes"]), keepdims=False)  # type: ignore[arg-type]
    return call.add(layer, x)
