"""The fallback where no formula is written: how far outputs move when operands move by one rounding, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import Budget, ForwardBudget, GradientBudget, GradientSetting, Setting, exact
from cnnbench.numerics.reference import LayerCall
from cnnbench.spec.streams import stream

Array = NDArray[Any]
DRAWS = 6
SHARP = 8.0  # standard deviations of one rounding of every operand
WORST = 64.0


def measured_forward(setting: Setting) -> ForwardBudget:
    """Sharp: 8 root-mean-square moves of the output under one rounding of each operand, and 4 roundings of itself."""

    def evaluate(call: LayerCall, draw: int) -> tuple[Array, ...]:
        values = setting.reference.forward(call)
        return (*values.outputs, *values.state)

    budgets = _measure(evaluate, (*setting.values.outputs, *setting.values.state), setting)
    count = len(setting.values.outputs)
    return ForwardBudget(budgets[:count], budgets[count:])


def measured_gradient(setting: GradientSetting) -> GradientBudget:
    """The same for gradients, the cotangents being operands too."""

    def evaluate(call: LayerCall, draw: int) -> tuple[Array, ...]:
        cotangents = tuple(_moved(g, setting, draw, f"cotangent{i}") for i, g in enumerate(setting.cotangents))
        gradients = setting.reference.gradient(call, cotangents)
        return tuple(g for g in (*gradients.inputs, *gradients.weights) if g is not None)

    known = [g for g in (*setting.gradients.inputs, *setting.gradients.weights) if g is not None]
    budgets = iter(_measure(evaluate, known, setting))
    inputs = tuple(None if g is None else next(budgets) for g in setting.gradients.inputs)
    weights = tuple(None if g is None else next(budgets) for g in setting.gradients.weights)
    return GradientBudget(inputs, weights)


def _measure(
    evaluate: Callable[[LayerCall, int], Sequence[Array]], clean: Sequence[Array], setting: Setting
) -> tuple[Budget, ...]:
    squares = [np.zeros(value.shape) for value in clean]
    for draw in range(DRAWS):
        call = replace(
            setting.call,
            inputs=tuple(_moved(x, setting, draw, f"input{i}") for i, x in enumerate(setting.call.inputs)),
            weights=tuple(_moved(w, setting, draw, f"weight{i}") for i, w in enumerate(setting.call.weights)),
        )
        for total, value, before in zip(squares, evaluate(call, draw), clean, strict=True):
            total += np.square(value - before)
    return tuple(_budget(total, value, setting) for total, value in zip(squares, clean, strict=True))


def _budget(squares: Array, value: Array, setting: Setting) -> Budget:
    u = setting.u
    if value.dtype.kind in "iu":
        return exact(u)
    moves = np.sqrt(squares / DRAWS)
    pooled = np.sqrt(np.mean(np.square(moves))) if moves.size else np.zeros(())
    size = np.maximum(moves, pooled)  # a few draws know one element badly, and all of them together well
    own = 4 * u.stored * np.abs(value) + 8 * u.smallest
    return Budget(SHARP * size + own, WORST * size + 4 * own)


def _moved(array: Array, setting: Setting, draw: int, name: str) -> Array:
    if array.dtype.kind != "f":
        return array
    generator = stream(draw, "sensitivity", f"{setting.layer.kind}/{name}")
    return array * (1 + setting.u.stored * generator.uniform(-1.0, 1.0, array.shape))
