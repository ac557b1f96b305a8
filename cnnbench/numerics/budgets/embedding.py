"""Budgets of embeddings: rows are moved, times are turned into angles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.activation import FUNCTION
from cnnbench.numerics.budgets.base import (
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    both,
    exact_on_integers,
    forward_formula,
    gradient_formula,
    sum_of_products,
)
from cnnbench.numerics.budgets.exact import exact_outputs
from cnnbench.numerics.hard_operands import no_hard_operands

Array = NDArray[Any]

no_hard_operands("token_embedding", "timestep_embedding", because="operands are rows and steps")

ANGLE = 3  # roundings of t w: of w, of the product, and one to spare

exact_on_integers("token_embedding", when=lambda layer, inputs: False)  # small integers are not all of them rows

forward_formula("token_embedding")(exact_outputs)


@gradient_formula("token_embedding")
def token_embedding_gradient(setting: GradientSetting) -> GradientBudget:
    """A sum over the K tokens that read a row, K at most as many as the most read row has."""
    gradient = setting.gradients.weights[0]
    if gradient is None:
        return GradientBudget((None,), (None,))
    tokens = setting.call.inputs[0]
    count = int(np.unique(tokens, return_counts=True)[1].max(initial=1))
    magnitude = setting.gradient_magnitudes(setting.call).weights[0]
    size = np.abs(gradient) if magnitude is None else magnitude
    return GradientBudget((None,), (sum_of_products(size, count, setting.u, rounded=np.abs(gradient), squares=None),))


def _angles(setting: Setting) -> tuple[Array, Array, Array]:
    """(w, |t w|, the roundoff in which angles are held)."""
    w = setting.layer.frequencies()
    angles = setting.call.inputs[0].reshape(-1, 1) * w
    return w, angles, np.asarray(min(setting.u.stored, 2.0**-24 + 2.0**-53))


@forward_formula("timestep_embedding")
def timestep_embedding(setting: Setting) -> ForwardBudget:
    """|y| (few u_s) + |t w| (3 u_32) |slope|: the angle is held in float32 at least; a sine's slope is a cosine."""
    u, layer = setting.u, setting.layer
    _, angles, held = _angles(setting)
    sine, cosine = np.abs(np.sin(angles)), np.abs(np.cos(angles))

    def error(c: Any) -> Array:
        moved = c(ANGLE, float(held)) * np.abs(angles)
        parts = [c(FUNCTION + 1, u.stored) * sine + moved * cosine, c(FUNCTION + 1, u.stored) * cosine + moved * sine]
        # near a zero of the function the second derivative counts
        parts = [part + moved * moved for part in (parts if layer.order == "sin_cos" else parts[::-1])]
        rest = np.zeros((len(angles), layer.features % 2))
        return np.concatenate((*parts, rest), axis=1) + 4 * u.smallest

    return ForwardBudget((both(error),))


@gradient_formula("timestep_embedding")
def timestep_embedding_gradient(setting: GradientSetting) -> GradientBudget:
    """dt = sum_i w_i (g cos - g' sin): each term by its factors' errors, and the sum's."""
    u, layer = setting.u, setting.layer
    w, angles, held = _angles(setting)
    half = layer.features // 2
    g = np.abs(setting.cotangents[0])
    first, second = g[:, :half], g[:, half : 2 * half]
    d_sine, d_cosine = (first, second) if layer.order == "sin_cos" else (second, first)
    sine, cosine = np.abs(np.sin(angles)), np.abs(np.cos(angles))
    shape = setting.call.inputs[0].shape

    def error(c: Any) -> Array:
        moved = c(ANGLE, float(held)) * np.abs(angles)
        size = w * (d_sine * cosine + d_cosine * sine)
        own = (c(FUNCTION + 4, u.stored) + c(2 * half, u.accumulated)) * size
        turned = w * (d_sine * (sine + moved) + d_cosine * (cosine + moved)) * moved
        total = (own + turned).sum(axis=1) + c(1, u.stored) * size.sum(axis=1)
        return np.asarray(total.reshape(shape) + 4 * u.smallest)

    return GradientBudget((both(error),))
