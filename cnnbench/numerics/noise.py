"""Random noise of the size of rounding errors, added to values, running statistics and weights in perturbed runs."""

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
    """The precision in which perturbed runs compute: float64 for a policy that stores float64, else float32.

    Beside the noise of the other policies, float32's own roundings do not show.
    """
    return "float64" if case.policy.storage == "float64" else "float32"


def noise(case: Case, budgets: Mapping[str, ValueNoise], run: int, step: int = 0) -> dict[str, Array]:
    """Uniform noise within +- the sharp budget of each value, by the names of the noise inputs.

    An error that a value's elements share, such as that of a channel's mean in a batch norm, is drawn once for all of
    them. ``one_rounding`` perturbs the weights and running statistics.

    Args:
        case: The case whose network computes the values.
        budgets: The budget of each perturbed value; images beyond the case's batch are left out.
        run: Number of the perturbed run, which seeds the noise.
        step: Number of the training step, which seeds it too.
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
    """The case's weights and running statistics, each value moved at random by at most one rounding.

    In float32 a value moves to one of its two neighbours in the storage type, or stays.

    Args:
        case: The case with the arrays.
        run: Number of the perturbed run, which seeds the draws.
    """
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
    """The sharp budget of each value of an inference pass, except of values that are copied without arithmetic."""
    budgets = {}
    for node in oracle.case.lowered.nodes:
        truth, shared = oracle.outputs(node.name), oracle.shared(node.name)
        for value, exact, budget in zip(output_names(oracle.case.lowered, node), *truth, strict=True):
            if budget.sharp.ndim or not exact.ndim:  # of one number, such as a loss, the budget is one, too
                budgets[value] = ValueNoise.of(budget.sharp, shared)
            shared = ()  # of the first output
    return budgets


def visit_budgets(graph: Graph, visit: Visit) -> dict[str, ValueNoise]:
    """The sharp budget of each output of one node, except of values that are copied without arithmetic.

    Args:
        graph: The network.
        visit: The node's exact values and budgets, from ``walk``.
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
    """The noise of a training pass: on values, on gradients, and on running statistics as they are updated.

    Args:
        budgets: The budget of each value, by name.
        graph: The case's network with a noise input for each of these values.
        reverse: The noise on gradients and running statistics.
    """

    budgets: dict[str, ValueNoise]
    graph: Graph
    reverse: ReverseNoise

    @staticmethod
    def of(case: Case) -> Noises:
        """The noise of the case's training pass, sized by the budgets of its exact values and gradients."""
        budgets: dict[str, ValueNoise] = {}
        states: list[tuple[ValueNoise, ...]] = []
        for visit in walk(case, training=True):
            budgets |= visit_budgets(case.lowered, visit)
            if visit.budget.state:
                states.append(tuple(ValueNoise.of(budget.sharp) for budget in visit.budget.state))
        graph = with_noise(case.lowered, list(budgets))
        return Noises(budgets, graph, _reverse_noise(case, graph, states))


def _reverse_noise(case: Case, graph: Graph, states: list[tuple[ValueNoise, ...]]) -> ReverseNoise:
    """The budgets of all gradients of a gradient pass, recorded in a run without noise.

    Args:
        case: The case, with the loss.
        graph: Its network with noise inputs.
        states: The budgets of running statistics, in the order of the nodes that have them.
    """
    result = ReverseNoise(case.policy, case.loss, case.labels, states)
    given = {item.name for item in case.lowered.inputs}
    quiet = {item.name: np.zeros(item.full_shape(case.size)) for item in graph.inputs if item.name not in given}
    with result.recording() as subject:
        batch = {**case.training_batch(), **quiet}
        subject.gradient(graph, case.stored, batch, reference_options(training=True), case.loss)
    return result
