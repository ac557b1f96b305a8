"""The claim about optimisers of pictures: L-BFGS and Adam on style transfer, with as many evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.claims.laboratory import Laboratory
from cnnbench.claims.trials import RELU, conv, less, started
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import AvgPool
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import split_state
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest

Array = NDArray[Any]
Evaluate = Callable[[Array], tuple[float, Array]]
IMAGE = (3, 32, 32)
FILTERS = (16, 32, 64)
STYLE_WEIGHT = 1e2
BUDGETS = (50, 200)  # evaluations of the loss and its gradient
RATES = (0.01, 0.03, 0.1, 0.3)


def style_optimizers(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """The loss that each reaches; Adam gets the best of four rates for each seed, which L-BFGS does without."""
    found = [_losses(laboratory, seed) for seed in laboratory.seeds]
    for place, budget in enumerate(BUDGETS):
        lbfgs, adam = (tuple(math.log10(item[side][place]) for item in found) for side in (0, 1))
        what = f"log10 of the loss after {budget} evaluations, L-BFGS less Adam at its best rate"
        yield ClaimEvidence(what, less(lbfgs, adam), most=0)


def _losses(laboratory: Laboratory, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The losses at the budgets, of L-BFGS and of Adam, from the same noise."""
    loss = StyleLoss(laboratory, seed)
    noise = stream(seed, "claims", "noise").normal(size=(1, *IMAGE))
    lbfgs = tuple(least_by_lbfgs(loss, noise, budget) for budget in BUDGETS)
    return lbfgs, tuple(min(least_by_adam(loss, noise, budget, rate) for rate in RATES) for budget in BUDGETS)


class StyleLoss:
    """|F_3(x) - F_3(content)|^2 + w sum_l |G_l(x) - G_l(style)|^2, means over elements, and its gradient.

    F_l are the features of three convolutions with random kernels, G_l = F_l F_l^T / positions their Gram matrices.
    Content and style are two of the photographs.

    Source: Gatys et al., arXiv:1508.06576, equations 1 to 7; random kernels as Ustyuzhaninov et al., arXiv:1606.00021.

    Args:
        laboratory: Who computes.
        seed: Of the kernels and of the choice of photographs.
    """

    def __init__(self, laboratory: Laboratory, seed: int) -> None:
        graph = _features()
        arrays = split_state(graph, started(graph, seed, math.sqrt(2)))
        self._forward = laboratory.backend.compile_forward(graph, laboratory.options)
        self._backward = laboratory.backend.compile_gradient(graph, laboratory.options)
        for program in (self._forward, self._backward):
            program.load(*arrays)
        photographs = load_dataset("photographs", DataRequest("test", IMAGE)).images
        content, style = stream(seed, "claims", "photographs").permutation(len(photographs))[:2]
        self._content = self._features(photographs[content : content + 1])
        self._grams = {name: _gram(item) for name, item in self._features(photographs[style : style + 1]).items()}

    def __call__(self, picture: Array) -> tuple[float, Array]:
        """The loss of a picture (1, 3, 32, 32) and its gradient."""
        features = self._features(picture)
        last = list(features)[-1]
        away = features[last] - self._content[last]
        total, cotangents = float(np.mean(away**2)), {}
        for name, item in features.items():
            flat = item.reshape(item.shape[1], -1)
            apart = _gram(item) - self._grams[name]
            total += STYLE_WEIGHT * float(np.mean(apart**2))
            slope = STYLE_WEIGHT * 4 / apart.size * (apart @ flat) / flat.shape[1]
            cotangents[f"gradient.{name}"] = slope.reshape(item.shape) + (2 * away / away.size if name == last else 0)
        operands = self._backward.upload({"x": picture, **cotangents})
        return total, np.asarray(self._backward.download(self._backward.run(operands)).inputs["x"])

    def _features(self, picture: Array) -> Mapping[str, Array]:
        operands = self._forward.upload({"x": np.asarray(picture, np.float64)})
        found = self._forward.download(self._forward.run(operands)).outputs
        return {name: np.asarray(values) for name, values in found.items()}


def _features() -> Graph:
    b = Builder("features")
    x, outputs = b.input("x", IMAGE), {}
    for number, filters in enumerate(FILTERS):
        x = outputs[f"features{number}"] = b.add(f"relu{number}", RELU, b.add(f"conv{number}", conv(filters), x))
        x = b.add(f"pool{number}", AvgPool(kernel_size=2, stride=2), x)
    return b.build(outputs)


def _gram(features: Array) -> Array:
    flat = features.reshape(features.shape[1], -1)
    return flat @ flat.T / flat.shape[1]


def least_by_lbfgs(evaluate: Evaluate, start: Array, budget: int) -> float:
    """The least loss that SciPy's L-BFGS-B sees (no bounds, ten pairs, its line search) within a count of evaluations.

    Args:
        evaluate: picture -> (loss, gradient).
        start: The first picture.
        budget: How many evaluations it gets.
    """
    from scipy.optimize import minimize

    seen: list[float] = []

    def counted(flat: Array) -> tuple[float, Array]:
        if len(seen) == budget:
            raise StopIteration
        value, slope = evaluate(flat.reshape(start.shape))
        seen.append(value)
        return value, slope.ravel().astype(np.float64)

    options = {"maxfun": budget, "maxiter": budget, "ftol": 0.0, "gtol": 0.0}
    with suppress(StopIteration):  # in the midst of a line search
        minimize(counted, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return min(seen)


def least_by_adam(evaluate: Evaluate, start: Array, budget: int, rate: float) -> float:
    """The least loss that Adam sees (Kingma and Ba 2014: 0.9, 0.999, 1e-8) within a count of evaluations.

    Args:
        evaluate: picture -> (loss, gradient).
        start: The first picture.
        budget: How many evaluations it gets.
        rate: The step size.
    """
    picture, best = start.copy(), math.inf
    mean = square = np.zeros_like(start)
    for step in range(1, budget + 1):
        value, slope = evaluate(picture)
        best = min(best, value)
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        picture -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return best


CLAIMS = (
    NetworkClaim(
        "style_optimizers",
        17,
        "L-BFGS beats Adam on style transfer.",
        "arXiv:1508.06576 (which uses L-BFGS); the notes",
        style_optimizers,
        conditions=(
            "photographs of 32 x 32 pixels, features of three convolutions with random kernels",
            "as many evaluations of the loss and its gradient for both; Adam at the best of four rates",
        ),
        trains=True,
    ),
)
