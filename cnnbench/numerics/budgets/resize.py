"""Budgets of resizing: sums of weighted inputs, at coordinates that are computed in single precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    exact_on_integers,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.hard_operands import hard_operands, scaled
from cnnbench.numerics.rounding import gamma, sharp_factor
from cnnbench.spec.layers.interpolation import Axis, coordinates, matrix, matrix_of, taps_at, terms

Array = NDArray[Any]

hard_operands("resize")(scaled)
COORDINATE_ROUNDINGS = 6  # the factor, its product, the halves, the neighbour's distance and the kernel's argument
STEP = 1e-6

exact_on_integers("resize", when=lambda layer, inputs: layer.mode == "nearest")


@forward_formula("resize")
def resize(setting: Setting) -> ForwardBudget:
    """A sum of K taps, S = sum |w||x|; and what coordinates t and weights lose, which libraries compute as they go.

    Both are float32 for every narrower type: an axis adds the slope |dy/dt| times c(6, u_acc) (|t| + 1), and for a
    cubic kernel c(6, u_acc) sum p(d) |x|, p being its polynomial on absolute coefficients (Horner's rule, Higham 2002,
    section 5.1).
    """
    layer, x = setting.layer, setting.call.inputs[0]
    if layer.mode == "nearest":
        return ForwardBudget((exact(setting.u),))
    axes = layer.axes(x.shape[2:])
    matrices = [matrix(axis) for axis in axes]
    count = sum(int(np.count_nonzero(m, axis=1).max()) + 2 for m in matrices)
    magnitude = _applied(np.abs(x), [np.abs(m) for m in matrices])
    moved = _moved(axes, matrices, lambda each: _applied(x, each))
    moved += _rounded_weights(axes, matrices, lambda each: _applied(np.abs(x), each))
    return ForwardBudget((_budget(setting, count, magnitude, setting.values.outputs[0], moved),))


@gradient_formula("resize")
def resize_gradient(setting: GradientSetting) -> GradientBudget:
    """The transposed sums: K outputs read one input, S = sum |w||dy|, and coordinates as forward."""
    layer, dy = setting.layer, setting.cotangents[0]
    axes = layer.axes(setting.call.inputs[0].shape[2:])
    matrices = [matrix(axis) for axis in axes]
    count = math.prod(int(np.count_nonzero(m, axis=0).max()) for m in matrices) + 2 * len(axes)
    magnitude = _applied(np.abs(dy), [np.abs(m).T for m in matrices])
    moved: list[Array] = []
    if layer.mode != "nearest":
        moved = _moved(axes, matrices, lambda each: _applied(np.abs(dy), [np.abs(m).T for m in each]))
        moved += _rounded_weights(axes, matrices, lambda each: _applied(np.abs(dy), [m.T for m in each]))
    return GradientBudget((_budget(setting, count, magnitude, setting.gradients.inputs[0], moved),))


def _budget(setting: Setting, count: int, magnitude: Array, value: Array, moved: Sequence[Array]) -> Budget:
    # between two axes a result may be stored; products of stored values with exact weights have no rounded operands
    u = replace(setting.u, operand=0.0)
    base = sum_of_products(magnitude, count, u, rounded=np.abs(value) + magnitude, squares=None)
    slope = sum(moved, np.zeros(()))
    each = COORDINATE_ROUNDINGS
    return Budget(
        base.sharp + sharp_factor(each, u.accumulated) * slope, base.worst + gamma(each, u.accumulated) * slope
    )


def _moved(axes: Sequence[Axis], matrices: Sequence[Array], result: Callable[[list[Array]], Array]) -> list[Array]:
    """For each axis: how far the result moves when its coordinates t do by |t| + 1."""
    moves = []
    for position, axis in enumerate(axes):
        places = coordinates(axis)
        sides = []
        for sign in (-1, 1):
            shifted = matrix_of(taps_at(axis, places + sign * STEP * (np.abs(places) + 1)), axis.size)
            change = (shifted - matrices[position]) / STEP
            sides.append(np.abs(result([*matrices[:position], change, *matrices[position + 1 :]])))
        moves.append(np.maximum(*sides))
    return moves


def _rounded_weights(
    axes: Sequence[Axis], matrices: Sequence[Array], result: Callable[[list[Array]], Array]
) -> list[Array]:
    """For each axis: the result with each cubic weight as large as the terms that it is summed from."""
    sizes = [np.abs(m) for m in matrices]
    return [
        result([*sizes[:position], matrix_of(terms(axis), axis.size), *sizes[position + 1 :]])
        for position, axis in enumerate(axes)
        if axis.mode == "cubic"
    ]


def _applied(x: Array, matrices: Sequence[Array]) -> Array:
    """The product along each spatial axis."""
    for axis, rows in enumerate(matrices, start=2):
        x = np.moveaxis(np.tensordot(x, rows, ((axis,), (1,))), -1, axis)
    return x
