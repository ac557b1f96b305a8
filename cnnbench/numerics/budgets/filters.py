"""Budgets of constant filters: sums of products with weights that are stored like everything else."""

from __future__ import annotations

import math
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
    exact_on_integers,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.hard_operands import hard_operands, scaled
from cnnbench.numerics.reference import LayerCall
from cnnbench.spec.layers.filters import ConstantFilter

hard_operands("constant_filter")(scaled)


exact_on_integers(
    "constant_filter", when=lambda layer, inputs: all(weight % 1 == 0 for weight in layer.weights_row_major)
)


@forward_formula("constant_filter")
def constant_filter(setting: Setting) -> ForwardBudget:
    """K = the kernel's size, S = sum |w||x|; a weight is rounded once to storage, which costs u_s S."""
    magnitude = setting.reference.forward(_magnitudes(setting.call)).outputs[0]
    return ForwardBudget(
        (_budget(setting, len(setting.layer.weights_row_major), magnitude, setting.values.outputs[0]),)
    )


@gradient_formula("constant_filter")
def constant_filter_gradient(setting: GradientSetting) -> GradientBudget:
    """K = the windows that an input lies in, S = sum |w||dy|."""
    layer: ConstantFilter = setting.layer
    count = math.prod(-(-k // s) for k, s in zip(layer.kernel_size, layer.strides(), strict=True))
    magnitude = setting.gradient_magnitudes(_magnitudes(setting.call)).inputs[0]
    return GradientBudget((_budget(setting, count, magnitude, setting.gradients.inputs[0]),))


def _magnitudes(call: LayerCall) -> LayerCall:
    layer: Any = call.layer
    positive = tuple(map(abs, layer.weights_row_major))
    return replace(call, layer=replace(layer, weights_row_major=positive), inputs=tuple(np.abs(x) for x in call.inputs))


def _budget(setting: Setting, count: int, magnitude: NDArray[Any], value: NDArray[Any]) -> Budget:
    return sum_of_products(magnitude, count, setting.u, rounded=np.abs(value) + magnitude, squares=None)
