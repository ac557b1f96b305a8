"""Optimises images: Adam and L-BFGS run on the host in float64, and the backend computes the gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ValueAndGradient = Callable[[Array], tuple[float, Array]]
BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Descended:
    """The result of optimising an image.

    Args:
        image: The final image.
        first_gradient: The gradient at the start.
        values: The objective at the start and after each step.
    """

    image: Array
    first_gradient: Array
    values: tuple[float, ...]


def adam(objective: ValueAndGradient, start: Array, steps: int, rate: float) -> Descended:
    """Minimises an objective by Adam, in float64.

    Args:
        objective: x -> (value, gradient).
        start: The initial x.
        steps: Number of steps; with 0 only the first gradient is computed.
        rate: The learning rate.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    """
    x = np.array(start, np.float64)
    value, first = objective(x)
    values, gradient = [value], np.asarray(first, np.float64)
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step in range(1, steps + 1):
        mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
        square = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
        corrected = mean / (1 - BETAS[0] ** step)
        x = x - rate * corrected / (np.sqrt(square / (1 - BETAS[1] ** step)) + EPSILON)
        value, gradient = objective(x)
        values.append(value)
    return Descended(x, first, tuple(values))


def lbfgs(objective: ValueAndGradient, start: Array, steps: int) -> Descended:
    """Minimises an objective by SciPy's L-BFGS-B without bounds.

    Args:
        objective: x -> (value, gradient).
        start: The initial x.
        steps: The most iterations; with 0 only the first gradient is computed.
    """
    value, first = objective(np.asarray(start, np.float64))
    if steps == 0:
        return Descended(np.asarray(start, np.float64), first, (value,))
    from scipy.optimize import minimize

    values = [value]

    def flat(x: Array) -> tuple[float, Array]:
        at, gradient = objective(x.reshape(start.shape))
        return float(at), np.asarray(gradient, np.float64).ravel()

    found = minimize(
        flat,
        np.asarray(start, np.float64).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 2 * steps + 20},
        callback=lambda intermediate_result: values.append(float(intermediate_result.fun)),
    )
    return Descended(np.reshape(found.x, start.shape), first, tuple(values))
