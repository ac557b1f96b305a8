"""Compares two networks: their differences, worst first, and the first node whose values differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.porting.alignment import Alignment, align
from cnnbench.porting.differences import PortDifference, differences, other_noises
from cnnbench.porting.gradients_apart import (
    GradientParting,
    PortGradients,
    gradients_apart,
    gradients_of,
    own_in_normal_form,
)
from cnnbench.porting.normal_form import PlainNetwork, normal_form
from cnnbench.porting.reading import OwnGradients, OwnTraining
from cnnbench.porting.training_apart import TrainedValues, TrainingParting, trained_values, training_apart
from cnnbench.porting.values_apart import SAME, Ran, ValueParting, distance, first_parting, measured, values_of
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Graph

Arrays = Mapping[str, NDArray[Any]]
BATCH = 2


@dataclass(frozen=True)
class Side:
    """One of the two compared networks.

    Args:
        name: Its name in the report.
        graph: The network.
        arrays: Its weights and running statistics.
        unproven: How far what the model itself gives is from what its graph gives, where these are not the same.
        beyond: The same over what float32 explains: some layers of frameworks compute in it whatever they are asked.
        notes: What the graph does not show of the model.
        noises: As ``ReadModel`` has them.
        gradients: By the model's own framework; None where they are those of the graph.
        trained: A training pass by the model's own framework; None where it is that of the graph.
        untrained: Why there is no training pass of it at all; "" where there is.
    """

    name: str
    graph: Graph
    arrays: Arrays
    unproven: float | None = None
    beyond: float = math.inf
    notes: tuple[str, ...] = ()
    noises: tuple[tuple[str, str], ...] = ()
    gradients: OwnGradients | None = None
    trained: OwnTraining | None = None
    untrained: str = ""


@dataclass(frozen=True)
class PortResult:
    """The result of comparing a candidate with a reference network.

    Args:
        reference, candidate: The names of both sides.
        differences: The largest first; those of training last.
        training: Whether differences that only training shows count.
        outputs: For each output how far both sides are apart, relative to the largest value.
        parting: The first node where they part; None where no aligned node does.
        aligned: How many nodes stand for each other.
        notes: What is as well to know.
        gradient_parting: The first gradient that differs, from the outputs back; None where none does.
        gradients: How many gradients were compared: of weights and of inputs.
        training_parting: The first running statistic, or else output, of a training pass that differs.
        trained: How many of them were compared.
    """

    reference: str
    candidate: str
    differences: tuple[PortDifference, ...]
    training: bool
    outputs: Mapping[str, float]
    parting: ValueParting | None
    aligned: int
    notes: tuple[str, ...] = ()
    gradient_parting: GradientParting | None = None
    gradients: int = 0
    training_parting: TrainingParting | None = None
    trained: int = 0

    @property
    def counted(self) -> tuple[PortDifference, ...]:
        """The differences that count."""
        return tuple(item for item in self.differences if self.training or not item.training)

    @property
    def same(self) -> bool:
        """Whether both are the same network."""
        partings = (self.parting, self.gradient_parting, self.training_parting)
        parted = any(item is not None for item in partings)
        return not self.counted and not parted and all(size <= SAME for size in self.outputs.values())

    @property
    def exit_code(self) -> int:
        """0 for the same network, else 4."""
        return 0 if self.same else 4


def compare_networks(
    reference: Side, candidate: Side, *, training: bool = False, seed: int = 0, folder: Path | None = None
) -> PortResult:
    """Compares two networks with their weights.

    Args:
        reference: The network that is right.
        candidate: The network that should be the same.
        training: Whether differences that only training shows count, and gradients and a training pass are compared.
        seed: Of the images, and of the outputs' cotangents.
        folder: Where a file that reproduces the first difference goes; None for nowhere.

    Raises:
        SpecError: Their inputs have different shapes.
    """
    ours, theirs = (normal_form(side.graph, side.arrays) for side in (reference, candidate))
    inputs = _inputs(ours.graph, theirs.graph, seed, by_place=training)
    alignment = align(ours, theirs)
    found = [*differences(alignment, ours, theirs), *other_noises(reference.noises, candidate.noises)]
    values, others = values_of(ours, inputs), values_of(theirs, inputs)
    found = measured(found, alignment.pairs, (ours, values), theirs)
    outputs: dict[str, float] = {}
    for (name, value), (_, other) in zip(ours.graph.outputs, theirs.graph.outputs, strict=False):
        outputs[name] = distance(values[value], others[other])
    if len(ours.graph.outputs) != len(theirs.graph.outputs):
        one, two = (str(len(side.graph.outputs)) for side in (ours, theirs))
        found.insert(0, PortDifference("outputs", reference.name, candidate.name, "outputs", one, two))
    parting = first_parting(alignment.pairs, (ours, values), (theirs, others), folder)
    notes = [f"{side.name}: {note}" for side in (reference, candidate) for note in side.notes]
    for side in (reference, candidate):
        if side.unproven is not None:
            notes.append(f"{side.name}: the model itself and its graph are {side.unproven:.1e} of the largest apart")
        if side.unproven is not None and not side.beyond <= 1:
            text = "the model itself gives other outputs than the graph that was read of it"
            found.insert(0, PortDifference("reading", side.name, "", "graph", "", text, size=side.unproven))
    gradients: tuple[GradientParting | None, int] = (None, 0)
    trained: tuple[TrainingParting | None, int] = (None, 0)
    if training and parting is None and not any(item.what == "outputs" for item in found):
        gradients = _gradients((reference, candidate), alignment, (ours, values), (theirs, others), seed)
        trained = _training((reference, candidate), alignment, (ours, theirs), inputs, found)
        notes += _untrained((reference, candidate))
    return PortResult(
        reference.name,
        candidate.name,
        tuple(found),
        training,
        outputs,
        parting,
        len(alignment.pairs),
        tuple(notes),
        *gradients,
        *trained,
    )


def _gradients(
    sides: tuple[Side, Side], alignment: Alignment, ours: Ran, theirs: Ran, seed: int
) -> tuple[GradientParting | None, int]:
    """The first gradient that differs, and how many were compared; each model's own where its framework gives them."""
    exact = gradients_of(*ours, seed, budgets=True)

    def own(side: Side) -> PortGradients | None:
        return None if side.gradients is None else own_in_normal_form(side.graph, side.arrays, side.gradients)

    one, two = map(own, sides)
    return gradients_apart(alignment.pairs, exact, one or exact, two or gradients_of(*theirs, seed), (ours, theirs))


def _training(
    sides: tuple[Side, Side],
    alignment: Alignment,
    networks: tuple[PlainNetwork, PlainNetwork],
    inputs: Sequence[NDArray[Any]],
    found: list[PortDifference],
) -> tuple[TrainingParting | None, int]:
    """The first difference of a training pass, and how many arrays were compared; each model's own where there is one.

    Adds to ``found`` where they give other numbers of outputs.
    """
    if any(side.untrained for side in sides):
        return None, 0
    exact = trained_values(networks[0], inputs)

    def own(side: Side) -> TrainedValues | None:
        found = side.trained
        return None if found is None else TrainedValues(found.outputs, found.state, found.count)

    ours, theirs = own(sides[0]) or exact, own(sides[1]) or trained_values(networks[1], inputs)
    if ours.count != theirs.count:
        one, two = (side.name for side in sides)
        what, counts = "outputs in training", (str(ours.count), str(theirs.count))
        found.append(PortDifference("outputs", one, two, what, *counts, training=True))
    return training_apart(alignment.pairs, networks, exact, ours, theirs)


def _untrained(sides: tuple[Side, Side]) -> list[str]:
    """What of the training pass is not compared."""
    found = [f"{side.name}: no training pass is compared: {side.untrained}" for side in sides if side.untrained]
    for side in sides if not found else ():
        drawn = side.trained is not None and len(side.trained.outputs) < side.trained.count == len(side.graph.outputs)
        if drawn:
            found.append(f"{side.name} draws more than dropout in training: what depends on it is not compared")
    return found


def _inputs(reference: Graph, candidate: Graph, seed: int, *, by_place: bool) -> Sequence[NDArray[Any]]:
    ours = [(item.shape, item.dtype) for item in reference.inputs]
    theirs = [(item.shape, item.dtype) for item in candidate.inputs]
    if ours != theirs:
        raise SpecError(
            "the two networks do not take the same inputs",
            received=", ".join(f"{shape}" for shape, _ in theirs),
            expected=", ".join(f"{shape}" for shape, _ in ours),
            remedy="build both for one image: --image 3x224x224",
        )
    drawn = draw_inputs(reference, seed, BATCH, by_place=by_place)
    return [np.asarray(drawn[item.name], np.float64 if item.dtype == "float" else None) for item in reference.inputs]
