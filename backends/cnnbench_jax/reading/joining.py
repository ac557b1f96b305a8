"""What several operations of a jaxpr mean together: biases, means, average pools, softmax, known activations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.spec.layers import (
    GELU,
    HardSigmoid,
    HardSwish,
    LogSoftmax,
    SiLU,
    Softmax,
    Softplus,
)
from cnnbench.spec.layers.smooth import Mish
from cnnbench_jax.reading.draft import Draft, Drafted, FixedArray, behind_order, inverse, rule
from cnnbench_jax.reading.windows import sum_pool_behind, window_counts

_WEIGHTED = {"conv", "conv_transpose", "linear"}


def with_parameter(made: Drafted) -> tuple[Drafted, FixedArray] | None:
    """The value and the array that an operation joins, in this order; None where there are no such two."""
    one, two = made.inputs
    if two.is_parameter():
        return one, two.arrays["value"]
    return (two, one.arrays["value"]) if one.is_parameter() and made.kind != "subtract" else None


@rule
def bias(draft: Draft, made: Drafted) -> Drafted | None:
    """Behind a convolution or a product it is theirs."""
    found = with_parameter(made) if made.kind == "add" and len(made.inputs) == 2 else None
    if found is None:
        return None
    (x, shift), shape = found, ()
    if x.kind == "reshape" and x.inputs[0].kind == "linear":  # its features were divided, among heads
        shape, x = x.shape, x.inputs[0]
    inner, order = behind_order(x)
    if inner.kind not in _WEIGHTED or inner.layer.bias:
        return None
    features = 1 if inner.kind != "linear" else len(inner.shape) - 1
    size, array = inner.shape[features], shift.compact()
    split = (
        bool(shape)
        and array.size == size
        and array.shape[-_trailing(shape, size) :] == shape[-_trailing(shape, size) :]
    )
    if not split and (shape or not shift.along(len(order), order.index(features), size)):
        return None
    given = FixedArray(array.reshape(-1), shift.name)
    layer = replace(inner.layer, bias=True)
    biased = draft.add(layer, *inner.inputs, weight=inner.arrays["weight"], bias=given)
    if shape:
        return draft.add(found[0].layer, biased)
    return draft.moved(biased, order)


def _trailing(shape: tuple[int, ...], size: int) -> int:
    """How many of the last axes hold so many values."""
    return next((n for n in range(1, len(shape)) if math.prod(shape[-n:]) == size), len(shape))


@rule
def kept_axes(draft: Draft, made: Drafted) -> Drafted | None:
    """A reduction whose axes are put in again keeps them."""
    if made.kind != "unsqueeze" or made.inputs[0].kind != "reduce":
        return None
    reduction = made.inputs[0]
    if reduction.layer.keepdims or reduction.layer.axes != made.layer.axes:
        return None
    return draft.add(replace(reduction.layer, keepdims=True), *reduction.inputs)


@rule
def mean(draft: Draft, made: Drafted) -> Drafted | None:
    """A sum over its count, over all positions of some axes or of windows."""
    if made.kind != "scalar_affine" or made.layer.shift:
        return None
    x, scale = made.inputs[0], made.layer.scale
    if x.kind == "reduce" and x.layer.function == "sum":
        count = math.prod(x.inputs[0].shape[axis] for axis in x.layer.axes)
        if math.isclose(scale * count, 1.0, rel_tol=1e-14):
            return draft.add(replace(x.layer, function="mean"), *x.inputs)
    pool = sum_pool_behind(x)
    if pool is not None and math.isclose(scale * math.prod(pool[0].layer.kernel_size), 1.0, rel_tol=1e-14):
        layer = replace(pool[0].layer, divisor=None)
        return draft.moved(draft.add(layer, *pool[0].inputs), pool[1])
    return None


@rule
def mean_of_windows(draft: Draft, made: Drafted) -> Drafted | None:
    """A sum over windows divided by how many positions of the image each holds."""
    found = with_parameter(made) if made.kind == "divide" and made.inputs[1].is_parameter() else None
    pool = sum_pool_behind(found[0]) if found is not None else None
    if found is None or pool is None:
        return None
    inner, order = pool
    counts = found[1].compact().transpose(inverse(order))
    wanted = window_counts(inner)
    if counts.shape[:2] != (1, 1) or not np.array_equal(np.broadcast_to(counts[0, 0], wanted.shape), wanted):
        return None
    layer = replace(inner.layer, divisor=None, count_include_pad=False)
    return draft.moved(draft.add(layer, *inner.inputs), order)


def _function(x: Drafted, name: str) -> Drafted | None:
    """What an element-wise function reads, None where the value is another."""
    return x.inputs[0] if x.kind == "elementwise" and x.layer.function == name else None


def reduced(x: Drafted, function: str) -> Drafted | None:
    """What a reduction that keeps its axes reads, None where the value is another.

    Args:
        x: The value.
        function: Of the reduction.
    """
    found = x.kind == "reduce" and x.layer.function == function and x.layer.keepdims
    return x.inputs[0] if found else None


def _unshifted(x: Drafted, axis: int) -> Drafted:
    """A value before its maximum was subtracted, which changes no softmax."""
    if x.kind == "subtract":
        source = reduced(x.inputs[1], "max")
        if source is x.inputs[0] and x.inputs[1].layer.axes == (axis,):
            return source
    return x


@rule
def softmax(draft: Draft, made: Drafted) -> Drafted | None:
    """exp(x) over its sum, and its logarithm."""
    if made.kind == "divide":
        logits, total = _function(made.inputs[0], "exp"), made.inputs[1]
        summed, kind = reduced(total, "sum") is made.inputs[0], Softmax
    elif made.kind == "subtract" and (inner := _function(made.inputs[1], "log")) is not None:
        logits, total = made.inputs[0], inner
        exponents = reduced(total, "sum")
        summed, kind = exponents is not None and _function(exponents, "exp") is logits, LogSoftmax
    else:
        return None
    if logits is None or not summed or len(total.layer.axes) != 1:
        return None
    axis = total.layer.axes[0]
    return draft.add(kind(axis=axis), _unshifted(logits, axis))


_POINTS = np.concatenate([np.linspace(-9.0, 9.0, 145), np.linspace(-50.0, 50.0, 101), (-1e-3, 1e-3)])
_ERF = np.vectorize(math.erf)
_SOFTPLUS = np.logaddexp(_POINTS, 0.0)
_CUBIC = math.sqrt(2 / math.pi) * (_POINTS + 0.044715 * _POINTS**3)
_HARD = np.clip(_POINTS + 3, 0, 6) / 6
# Each with the operations of its formulas: each once, besides products and factors and shifts by numbers.
_ACTIVATIONS: tuple[tuple[Any, np.ndarray, tuple[str, ...]], ...] = (
    (GELU(), 0.5 * _POINTS * (1 + _ERF(_POINTS / math.sqrt(2))), ("erf",)),
    (
        GELU(form="tanh"),
        0.5 * _POINTS * (1 + np.tanh(_CUBIC)),
        ("add scalar_power tanh", "add square tanh", "square tanh"),
    ),
    (SiLU(), _POINTS / (1 + np.exp(-_POINTS)), ("sigmoid",)),
    (Mish(), _POINTS * np.tanh(_SOFTPLUS), ("softplus tanh",)),
    (Softplus(), _SOFTPLUS, ("abs add exp log1p relu",)),
    (HardSwish(), _POINTS * _HARD, ("hard_sigmoid", "relu6")),
    (HardSigmoid(), _HARD, ("relu6",)),
)
_STEPS: dict[str, Any] = {
    "scalar_affine": lambda layer, x: layer.scale * x + layer.shift,
    "scalar_power": lambda layer, x: x**layer.exponent,
    "tanh": lambda layer, x: np.tanh(x),
    "sigmoid": lambda layer, x: 1 / (1 + np.exp(-x)),
    "relu": lambda layer, x: np.maximum(x, 0),
    "relu6": lambda layer, x: np.clip(x, 0, 6),
    "softplus": lambda layer, x: np.logaddexp(x, 0),
    "hard_sigmoid": lambda layer, x: np.clip(layer.slope * x + layer.offset, 0, 1),
    "multiply": lambda layer, x, y: x * y,
    "add": lambda layer, x, y: x + y,
}
_FUNCTIONS: dict[str, Any] = {
    **{name: getattr(np, name) for name in ("abs", "square", "sqrt", "exp", "expm1", "log1p")},
    "erf": _ERF,
}


@rule
def activation(draft: Draft, made: Drafted) -> Drafted | None:
    """A function of one value, by an activation's operations, that gives what it gives at every point that is tried."""
    if made.kind not in ("multiply", "add", "scalar_affine"):
        return None
    source = made
    for _ in range(12):
        if source.kind not in _STEPS and source.kind != "elementwise":
            break
        source = min(source.inputs, key=_depth)
        values = _values(made, source)
        if values is None:
            continue
        used = " ".join(sorted(_operations(made, source).values()))
        for layer, known, formulas in _ACTIVATIONS:
            if used in formulas and np.allclose(values, known, rtol=1e-12, atol=1e-13):
                return draft.add(layer, source)
    return None


def _depth(x: Drafted) -> int:
    """How many element-wise operations made a value, along its first operands."""
    depth = 0
    while depth < 12 and (x.kind in _STEPS or x.kind == "elementwise"):
        x, depth = x.inputs[0], depth + 1
    return depth


def _operations(x: Drafted, source: Drafted) -> dict[int, str]:
    """The operations between two values besides products and factors and shifts by numbers, by the values they make."""
    found: dict[int, str] = {}
    if x is not source:
        if x.kind not in ("multiply", "scalar_affine"):
            found[id(x)] = str(x.layer.function) if x.kind == "elementwise" else x.kind
        for item in x.inputs:
            found |= _operations(item, source)
    return found


def _values(x: Drafted, source: Drafted, left: int = 16) -> np.ndarray | None:
    """A value at the points as a function of another, None where it depends on more."""
    if x is source:
        return _POINTS
    step = _FUNCTIONS.get(x.layer.function) if x.kind == "elementwise" else _STEPS.get(x.kind)
    if step is None or not left or len({item.shape for item in x.inputs}) != 1:
        return None
    operands = [_values(item, source, left - 1) for item in x.inputs]
    if any(item is None for item in operands):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(step(*operands) if x.kind == "elementwise" else step(x.layer, *operands))
