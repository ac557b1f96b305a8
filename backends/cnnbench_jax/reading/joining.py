"""What several operations of a jaxpr mean together: biases, means, average pools, softmax, known activations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cnnbench.spec.equality.activations import known_activation
from cnnbench.spec.layers import LogSoftmax, Softmax
from cnnbench_jax.reading.draft import Draft, Drafted, FixedArray, behind_order, inverse, rule
from cnnbench_jax.reading.windows import sum_pool_behind, window_counts

_ROUNDING = 1e-12
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


@rule
def activation(draft: Draft, made: Drafted) -> Drafted | None:
    """An activation that is written as arithmetic, within the rounding of float64."""
    found = known_activation(made, _ROUNDING)
    return None if found is None else draft.add(found[0], found[1])
