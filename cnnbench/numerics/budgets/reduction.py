"""Budgets of reductions: sums of terms, and what the functions around a sum make of its error."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.activation import FUNCTION
from cnnbench.numerics.budgets.base import (
    SPARE,
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    exact,
    exact_on_integers,
    forward_formula,
    gradient_formula,
    roundings,
    sum_of_products,
)
from cnnbench.numerics.budgets.exact import exact_gradients, exact_outputs
from cnnbench.numerics.hard_operands import Hardness, hard_operands, of_every_size
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.ties import Backward, Hull, ties_of
from cnnbench.spec.layers import Shapes
from cnnbench.spec.layers.reduction import Reduce

Array = NDArray[Any]

forward_formula("arg_reduce", "top_k")(exact_outputs)
gradient_formula("arg_reduce", "top_k")(exact_gradients)


def _is_exact(layer: Reduce, inputs: Shapes) -> bool:
    count = math.prod(inputs[0][axis] for axis in layer.reduced(len(inputs[0])))
    if layer.function == "mean":
        return count > 0 and not count & (count - 1)
    return layer.function in ("sum", "max", "min", "l1", "sum_square") or (layer.function == "prod" and count <= 8)


exact_on_integers("reduce", when=_is_exact)


@ties_of("reduce")
def reduce_ties(backward: Backward) -> Hull | None:
    """Elements that are the extreme together with another; they share its gradient by convention."""
    layer, x = backward.layer, backward.x
    if layer.function not in ("max", "min") or not x.size:
        return None
    axes = layer.reduced(x.ndim)
    top = x == (x.max(axes, keepdims=True) if layer.function == "max" else x.min(axes, keepdims=True))
    return backward.shared(top & (top.sum(axes, keepdims=True) > 1), axes)


@ties_of("top_k")
def top_k_ties(backward: Backward) -> Hull:
    """Elements that equal another along the axis: each may be one of those that are taken, or none."""
    axis = backward.layer.axis
    moved = np.moveaxis(backward.x, axis, -1)
    equals = (moved[..., :, None] == moved[..., None, :]).sum(-1) > 1
    g = backward.cotangent
    least, most = np.minimum(g.min(axis, keepdims=True), 0), np.maximum(g.max(axis, keepdims=True), 0)
    return backward.between(np.moveaxis(equals, -1, axis), least, most, (axis,))


hard_operands("top_k", "arg_reduce")(of_every_size)


@hard_operands("reduce")
def hard_terms(call: LayerCall, hard: Hardness) -> LayerCall:
    """Rows that cancel, lie far from 0 or in exp's range, and of every size whose squares are finite."""
    layer, x = call.layer, call.inputs[0]
    name, axes = layer.fields()["function"], Reduce.reduced(layer, x.ndim)  # type: ignore[arg-type]
    if name == "prod":
        return replace(call, inputs=(np.exp2(hard.generator.uniform(-1.0, 1.0, x.shape)),))
    if name == "log_sum":
        return replace(call, inputs=(np.abs(hard.every_size(x.shape, most=hard.square, least=hard.square_root)),))
    patterns = (
        lambda rows: hard.uniform(rows, 80.0),
        lambda rows: min(300.0, hard.square) + hard.normal(rows),
        lambda rows: hard.every_size(rows, most=hard.square / 16, least=hard.square_root),
        lambda rows: hard.square_root * (1 + np.abs(hard.normal(rows))),
    )
    return replace(call, inputs=(hard.rows(x.shape, axes, patterns),))


def _times(size: Array, relative: Any) -> Array:
    """size * relative, and 0 where size is 0 though the relative error be infinite (gamma of very many terms)."""
    return np.asarray(size * np.minimum(relative, 1e300))


class _Sum:
    """What is summed along the axes, or its largest value taken out: sizes and errors by element of the result."""

    def __init__(self, setting: Setting) -> None:
        self.layer: Reduce = setting.layer
        self.x, self.u = setting.call.inputs[0], setting.u
        self.axes = self.layer.reduced(self.x.ndim)
        self.count = math.prod(self.x.shape[axis] for axis in self.axes)

    def of(self, terms: Array) -> Array:
        """Summed, the axes kept."""
        return np.asarray(terms.sum(axis=self.axes, keepdims=True))

    def shaped(self, budget: Budget) -> Budget:
        """A budget of the value with its axes as that of the value without them."""
        if self.layer.keepdims:
            return budget
        return Budget(budget.sharp.squeeze(self.axes), budget.worst.squeeze(self.axes))

    def kept(self, value: Array) -> Array:
        """A result with the axes put back."""
        return value if self.layer.keepdims else np.expand_dims(value, self.axes)

    def conditioned(self, c: Any) -> Array:
        """The relative error of sum x, which cancels where signs differ."""
        with np.errstate(divide="ignore", invalid="ignore"):
            size = self.of(np.abs(self.x)) / np.abs(self.of(self.x))
        return np.asarray(c(self.count, self.u.accumulated) * size + c(2, self.u.stored))

    def exponentials(self) -> tuple[Array, Array, Array]:
        """(the maximum, |x - maximum|, the share of each exponential in their sum)."""
        top = self.x.max(self.axes, keepdims=True)
        e = np.exp(self.x - top)
        return top, np.abs(self.x - top), e / self.of(e)

    def exponential_error(self, c: Any, depth: Array, share: Array) -> Array:
        """The relative error of sum exp(x - max), as of softmax.

        Args:
            c: The sharp factor or gamma, of (n, u).
            depth: max - x.
            share: exp(x - max) over the sum.
        """
        u = self.u
        spread = c(1, u.stored) * self.of(share * depth)
        return np.asarray(spread + c(FUNCTION, u.stored) + c(self.count, u.accumulated))


@forward_formula("reduce")
def reduce(setting: Setting) -> ForwardBudget:
    """Sums: K terms; max and min choose. The functions of a sum: its error times their derivative, and few u."""
    s, u = _Sum(setting), setting.u
    y = np.abs(s.kept(setting.values.outputs[0]))
    floor = (s.count + 8) * u.smallest
    match s.layer.function:
        case "max" | "min":
            return ForwardBudget((exact(u),))
        case "sum" | "l1":
            budget = sum_of_products(s.of(np.abs(s.x)), s.count, u, rounded=y, squares=None)
        case "sum_square":
            budget = sum_of_products(s.of(s.x**2), s.count + SPARE, u, rounded=2 * y, squares=None)
        case "mean":
            size = s.of(np.abs(s.x)) / max(s.count, 1)
            budget = sum_of_products(size, s.count + SPARE, u, rounded=2 * y, squares=None)
        case "prod":
            budget = both(lambda c: _times(y, c(s.count, u.accumulated) + c(SPARE, u.stored)) + floor)
        case "l2":
            budget = both(lambda c: _times(y, c(s.count + SPARE, u.accumulated) / 2 + c(SPARE, u.stored)) + floor)
        case "log_sum":
            near = np.minimum(1, y)
            budget = both(lambda c: s.conditioned(c) + c(FUNCTION, u.stored) * (y + near) + floor)
        case _:
            budget = both(lambda c: _log_sum_exp(s, y, c) + floor)
    return ForwardBudget((s.shaped(budget),))


def _log_sum_exp(s: _Sum, y: Array, c: Any) -> Array:
    """The sum's relative error, few u of its logarithm, and the rounding of what the maximum is added to."""
    top, depth, share = s.exponentials()
    u = s.u.stored
    log = np.abs(y - np.abs(top))
    return np.asarray(s.exponential_error(c, depth, share) + c(FUNCTION, u) * log + c(2, u) * (y + np.abs(top)))


@gradient_formula("reduce")
def reduce_gradient(setting: GradientSetting) -> GradientBudget:
    """|dx| times the relative error of the derivative; of a sum, an extreme or |x| it is exact."""
    s, u = _Sum(setting), setting.u
    dx = np.abs(setting.gradients.inputs[0])
    floor = (s.count + 8) * u.smallest
    match s.layer.function:
        case "sum" | "l1":
            return GradientBudget((exact(u),))
        case "mean" | "max" | "min" | "sum_square":
            return GradientBudget((roundings(dx, 2, u),))
        case "prod":
            return GradientBudget((both(lambda c: _times(dx, c(2 * s.count + SPARE, u.stored)) + floor),))
        case "l2":
            terms = s.count + SPARE
            return GradientBudget((both(lambda c: _times(dx, c(terms, u.accumulated) / 2 + c(8, u.stored)) + floor),))
        case "log_sum":
            return GradientBudget((both(lambda c: _times(dx, s.conditioned(c) + c(SPARE + 2, u.stored)) + floor),))
    top, depth, share = s.exponentials()
    y = np.abs(s.kept(setting.values.outputs[0]))

    def error(c: Any) -> Array:
        # exp(x - y) of the stored y (PyTorch), which is rounded at its own size, or exp(x - max) over the sum
        own = c(2, u.stored) * (depth + y + np.abs(top)) + c(FUNCTION + 2, u.stored)
        return np.asarray(_times(dx, own + s.exponential_error(c, depth, share)) + floor)

    return GradientBudget((both(error),))
