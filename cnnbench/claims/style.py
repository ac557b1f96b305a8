"""The claim about style transfer: L-BFGS against Adam with the same number of evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.claims.laboratory import Laboratory
from cnnbench.claims.trials import RELU, conv, less, started
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import AvgPool
from cnnbench.spec.streams import stream
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.views.descent import ValueAndGradient, adam, lbfgs
from cnnbench.views.network import BackendRunner, ViewedNetwork
from cnnbench.views.style import style_objective
from cnnbench.views.view import ViewRequest

Array = NDArray[Any]
IMAGE = (3, 32, 32)
FILTERS = (16, 32, 64)
STYLE_WEIGHT = 1000.0  # as the views' own
BUDGETS = (50, 200)  # evaluations of the loss and its gradient
RATES = (0.01, 0.03, 0.1, 0.3)


class _SpentError(Exception):
    """All evaluations were used; a line search may be under way."""


def style_optimizers(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """The loss that each reaches; Adam gets the best of four rates for each seed, which L-BFGS does without."""
    found = [_losses(laboratory, seed) for seed in laboratory.seeds]
    for place, budget in enumerate(BUDGETS):
        by_lbfgs, by_adam = (tuple(math.log10(item[side][place]) for item in found) for side in (0, 1))
        what = f"log10 of the loss after {budget} evaluations, L-BFGS less Adam at its best rate"
        yield ClaimEvidence(what, less(by_lbfgs, by_adam), most=0)


def _losses(laboratory: Laboratory, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The losses at the budgets, of L-BFGS and of Adam, from the same noise."""
    objective = transfer(laboratory, seed)
    noise = stream(seed, "claims", "noise").normal(size=(1, *IMAGE))

    def by_lbfgs(budget: int) -> float:
        return least(objective, lambda counted: lbfgs(counted, noise, budget), budget)

    def by_adam(budget: int) -> float:
        return min(least(objective, partial(adam, start=noise, steps=budget, rate=rate), budget) for rate in RATES)

    return tuple(map(by_lbfgs, BUDGETS)), tuple(map(by_adam, BUDGETS))


def transfer(laboratory: Laboratory, seed: int) -> ValueAndGradient:
    """The loss of ``views.style`` on the features of three convolutions with random kernels, of two photographs.

    Source of random kernels: Ustyuzhaninov et al., arXiv:1606.00021.

    Args:
        laboratory: Who computes.
        seed: Of the kernels and of the choice of photographs.
    """
    graph = _features()
    runner = BackendRunner(laboratory.backend, laboratory.options)
    network = ViewedNetwork(graph, started(graph, seed, math.sqrt(2)), runner)
    photographs = load_dataset("photographs", DataRequest("test", IMAGE)).images
    content, style = stream(seed, "claims", "photographs").permutation(len(photographs))[:2]
    names = tuple(f"relu{number}" for number in range(len(FILTERS)))
    request = ViewRequest(
        photographs[[content]],
        nodes=(names[-1], *names),
        style=photographs[[style]],
        settings={"style": STYLE_WEIGHT},
    )
    return style_objective(network, request)


def least(objective: ValueAndGradient, descend: Callable[[ValueAndGradient], object], budget: int) -> float:
    """The least loss that a descent sees within a count of evaluations.

    Args:
        objective: picture -> (loss, gradient).
        descend: Goes down an objective.
        budget: How many evaluations it gets.
    """
    seen: list[float] = []

    def counted(picture: Array) -> tuple[float, Array]:
        if len(seen) == budget:
            raise _SpentError
        value, slope = objective(picture)
        seen.append(value)
        return value, np.asarray(slope, np.float64)

    with suppress(_SpentError):
        descend(counted)
    return min(seen)


def _features() -> Graph:
    b = Builder("features")
    x, outputs = b.input("image", IMAGE), {}
    for number, filters in enumerate(FILTERS):
        x = outputs[f"features{number}"] = b.add(f"relu{number}", RELU, b.add(f"conv{number}", conv(filters), x))
        x = b.add(f"pool{number}", AvgPool(kernel_size=2, stride=2), x)
    return b.build(outputs)


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
