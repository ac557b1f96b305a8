"""Noise as rounding makes it: what perturbed runs of the oracle add to values, running statistics and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.shared import ValueNoise
from cnnbench.numerics.case import Case
from cnnbench.numerics.oracle import Oracle, Visit, walk
from cnnbench.numerics.reference import reference_options
from cnnbench.numerics.reverse_noise import ReverseNoise
from cnnbench.numerics.teacher_forcing import noise_input, output_names, with_noise
from cnnbench.spec.graph import Graph
from cnnbench.spec.streams import stream

Array = NDArray[Any]


def perturbed_precision(case: Case) -> str:
    """The arithmetic of perturbed runs: float32 where the noise is so much larger that its roundings do not show."""
    return "float64" if case.policy.storage == "float64" else "float32"


def noise(case: Case, budgets: Mapping[str, ValueNoise], run: int, step: int = 0) -> dict[str, Array]:
    """Uniform noise in +- the sharp budget of each value, by the names of the noise inputs.

    What a value's elements have in common moves them together: the mean of a channel, for one, that a batch norm
    computes. ``one_rounding`` does the same for given weights and running statistics.

    Args:
        case: Whose network has the values.
        budgets: Of each value that is to move; images beyond the case's batch are left out.
        run: Number of the perturbed run, which says the noise.
        step: Number of the training step, which has noise of its own.
    """
    shapes = case.lowered.shapes(case.size)
    dtype = np.dtype(perturbed_precision(case)).type
    result = {}
    for value, amplitudes in budgets.items():
        item = noise_input(case.lowered, value)
        if item is None:
            continue
        generator = stream(case.seed, f"noise {run}", value, step)
        drawn = amplitudes.draw(generator, shapes[value], dtype)
        result[item.name] = drawn.reshape(item.full_shape(case.size))
    return result


def one_rounding(case: Case, run: int) -> dict[str, Array]:
    """The case's arrays with each value moved by at most one rounding (in float32: to a neighbour, or not at all)."""
    if perturbed_precision(case) == "float64":
        u = case.policy.storage_roundoff
        return {
            name: np.asarray(a, np.float64)
            * (1 + u * stream(case.seed, f"rounding {run}", name).uniform(-1, 1, a.shape))
            for name, a in case.stored.items()
        }
    step = np.float32(2 * case.policy.storage_roundoff)
    moved = {}
    for name, array in case.stored.items():
        generator = stream(case.seed, f"rounding {run}", name)
        signs = generator.integers(-1, 2, array.shape, dtype=np.int8).astype(np.float32)
        moved[name] = array * (1 + step * signs)
    return moved


def inference_budgets(oracle: Oracle) -> dict[str, ValueNoise]:
    """The sharp budget of each value that an inference pass computes; a value that is only moved has none."""
    budgets = {}
    for node in oracle.case.lowered.nodes:
        truth, shared = oracle.outputs(node.name), oracle.shared(node.name)
        for value, exact, budget in zip(output_names(oracle.case.lowered, node), *truth, strict=True):
            if budget.sharp.ndim or not exact.ndim:  # of one number, such as a loss, the budget is one, too
                budgets[value] = ValueNoise.of(budget.sharp, shared)
            shared = ()  # of the first output
    return budgets


def visit_budgets(graph: Graph, visit: Visit) -> dict[str, ValueNoise]:
    """How far the values of a node move.

    Args:
        graph: The network.
        visit: Of one of its nodes, on a walk.
    """
    found, shared = {}, visit.budget.shared
    names = output_names(graph, visit.node)
    for value, exact, budget in zip(names, visit.values.outputs, visit.budget.outputs, strict=True):
        if np.ndim(budget.sharp) or not np.ndim(exact):
            found[value] = ValueNoise.of(budget.sharp, shared)
        shared = ()  # of the first output
    return found


@dataclass(frozen=True)
class Noises:
    """What perturbs a training pass: noise on values, on gradients, and on running statistics as they are made.

    Args:
        budgets: Of each value.
        graph: The case's network with a noise input for each of them.
        reverse: Moves gradients and running statistics.
    """

    budgets: dict[str, ValueNoise]
    graph: Graph
    reverse: ReverseNoise

    @staticmethod
    def of(case: Case) -> Noises:
        """The noises of a case's training pass."""
        budgets: dict[str, ValueNoise] = {}
        states: list[tuple[ValueNoise, ...]] = []
        for visit in walk(case, training=True):
            budgets |= visit_budgets(case.lowered, visit)
            if visit.budget.state:
                states.append(tuple(ValueNoise.of(budget.sharp) for budget in visit.budget.state))
        graph = with_noise(case.lowered, list(budgets))
        return Noises(budgets, graph, _reverse_noise(case, graph, states))


def _reverse_noise(case: Case, graph: Graph, states: list[tuple[ValueNoise, ...]]) -> ReverseNoise:
    """The budgets of all gradients of a gradient pass, recorded with the noise of the forward pass at 0.

    Args:
        case: Whose loss the gradients are of.
        graph: The case's network with noise inputs.
        states: Of running statistics, in the order of the nodes that have them.
    """
    result = ReverseNoise(case.policy, case.loss, case.labels, states)
    given = {item.name for item in case.lowered.inputs}
    quiet = {item.name: np.zeros(item.full_shape(case.size)) for item in graph.inputs if item.name not in given}
    with result.recording() as subject:
        batch = {**case.training_batch(), **quiet}
        subject.gradient(graph, case.stored, batch, reference_options(training=True), case.loss)
    return result
