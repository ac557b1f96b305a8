"""A training program as data: networks, and the phases of a round in which parts of them are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.draws import draw
from cnnbench.spec.graph import Graph, Input, is_within, weight_parts
from cnnbench.spec.layers import Initializer, Shape
from cnnbench.spec.losses import Objective
from cnnbench.spec.masks import masks_of
from cnnbench.spec.optimizers import Optimizer
from cnnbench.spec.passes import lower
from cnnbench.spec.weights import initialize
from cnnbench.training.dataset import Dataset
from cnnbench.training.programs.sampling import Sampling
from cnnbench.training.programs.sources import Draw, Source

Array = NDArray[Any]


@dataclass(frozen=True)
class Phase:
    """One step of a round: some weights move along the gradient of one loss.

    Args:
        name: What messages and records call it.
        graph: Its main output is the loss, a scalar; networks stand in it under their prefixes.
        trained: Prefixes of networks or of parts of them, or full names of weights.
        optimizer: Its update rule, whose slots are the phase's own.
        rate: Multiplies the learning rate of the round.
    """

    name: str
    graph: Graph
    trained: tuple[str, ...]
    optimizer: Optimizer
    rate: float = 1.0

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """The full names of the weights that it updates. Raises SpecError where an item of ``trained`` names none."""
        known = [spec.name for spec in self.graph.named_weights() if spec.trainable]
        found: dict[str, None] = {}
        for item in self.trained:
            named = [name for name in known if is_within(name, item)]
            if not named:
                raise SpecError(
                    f"there is no weight of {item!r} to train",
                    where=f"phase {self.name!r}",
                    remedy=did_you_mean(item, [*known, *{weight_parts(name)[0] for name in known}]),
                )
            found.update(dict.fromkeys(named))
        return tuple(found)


@dataclass(frozen=True, eq=False)
class TrainingProgram:
    """Networks that are trained in turn.

    A round runs every phase once, in order; each begins with the weights and running statistics that the one before it
    left. Running statistics of every network in a phase's graph move, whether it is trained there or not.

    Args:
        name: What it is called.
        networks: By the prefix under which they stand in the phases' graphs.
        phases: In their order.
        sources: Of each input of the phases' graphs, by name.
        average: The decay d of a moving average of the trained weights, a <- d a + (1 - d) w after each round, which
            begins with the initial weights; None for no average.
        spread: The standard deviation of the normal numbers from which kernels start (weights that are no biases and
            of no normalisation); None for each layer's own draw.
        sampling: How its networks make pictures; None where they make none out of nothing.
    """

    name: str
    networks: Mapping[str, Graph]
    phases: tuple[Phase, ...]
    sources: Mapping[str, Source] = field(default_factory=dict)
    average: float | None = None
    spread: float | None = None
    sampling: Sampling | None = None

    def __post_init__(self) -> None:
        if not self.phases:
            raise SpecError("a training program needs a phase", where=self.name)
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise SpecError("two phases have one name", where=self.name, received=names)
        if self.spread is not None and not 0 < self.spread < np.inf:
            raise SpecError("spread is not valid", received=self.spread, expected="a standard deviation above 0")
        if self.average is not None and not 0 <= self.average < 1:
            raise SpecError("average is not valid", received=self.average, expected="a decay from 0 to below 1")
        inputs: dict[str, Input] = {}
        for phase in self.phases:
            try:
                self._check(phase, inputs)
            except SpecError as error:
                raise error.at(f"{self.name}: phase {phase.name!r}") from None
        self._check_sampling()
        for name in self.sources:
            if name not in inputs:
                raise SpecError(f"no phase reads {name!r}", where=self.name, remedy=did_you_mean(name, inputs))

    def _check_sampling(self) -> None:
        if self.sampling is None:
            return
        for spec in (*self.sampling.graph.named_weights(), *self.sampling.graph.named_state()):
            name = f"{self.sampling.network}.{spec.name}"
            if self.shapes.get(name) != spec.shape:
                raise SpecError(f"pictures are made with {name!r}, which no network has", where=self.name)

    def _check(self, phase: Phase, inputs: dict[str, Input]) -> None:
        graph = phase.graph
        value = graph.outputs[0][1]
        Objective().require_scalar(graph.shapes()[value], graph.name)
        reached = {spec.name for spec in graph.prefix([value]).named_weights()}
        for name in phase.weights:
            if name not in reached:
                raise SpecError(f"the loss does not depend on the trained weight {name!r}")
        for spec in (*graph.named_weights(), *graph.named_state()):
            if self.shapes.get(spec.name) != spec.shape:
                raise SpecError(
                    f"the array {spec.name!r} is not one of the program's networks",
                    received=spec.shape,
                    expected=self.shapes.get(spec.name),
                    remedy=did_you_mean(spec.name, self.shapes),
                )
        for item in graph.inputs:
            if item.name not in self.sources:
                raise SpecError(
                    f"the input {item.name!r} has no source", remedy=did_you_mean(item.name, self.sources) or None
                )
            if inputs.setdefault(item.name, item) != item:
                raise SpecError(f"two phases read {item.name!r} in different shapes", received=item.shape)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Of the weights and running statistics of all networks, by full name."""
        return {
            f"{prefix}.{spec.name}": spec.shape
            for prefix, graph in self.networks.items()
            for spec in (*graph.named_weights(), *graph.named_state())
        }

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """The weights that some phase updates."""
        return tuple(dict.fromkeys(name for phase in self.phases for name in phase.weights))

    def initial(self, seed: int) -> dict[str, Array]:
        """Initial weights and running statistics of all networks, by full name.

        Each network's are those that it has alone with this seed, but for kernels where ``spread`` is given.
        """
        return {
            f"{prefix}.{name}": array
            for prefix, graph in self.networks.items()
            for name, array in {**initialize(graph, seed), **self._kernels(graph, seed)}.items()
        }

    def _kernels(self, graph: Graph, seed: int) -> dict[str, Array]:
        """Kernels by the program's own draw."""
        if self.spread is None:
            return {}
        normal = Initializer("normal", self.spread)
        kernels = [spec for spec in graph.named_weights() if spec.trainable and spec.decay]
        return {spec.name: draw(replace(spec, initializer=normal), seed).astype(np.float32) for spec in kernels}

    def arrays_of(self, prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The arrays of one network under its own names."""
        if prefix not in self.networks:
            raise SpecError(f"{self.name} has no network {prefix!r}", remedy=did_you_mean(prefix, self.networks))
        network = self.networks[prefix]
        names = [spec.name for spec in (*network.named_weights(), *network.named_state())]
        return {name: arrays[full] for name in names if (full := f"{prefix}.{name}") in arrays}

    def batch(self, number: int, images: int, data: Mapping[str, Dataset], seed: int, at: int) -> dict[str, Array]:
        """The inputs and masks of one phase in one round.

        Args:
            number: Of the phase.
            images: In the batch.
            data: The datasets that sources name.
            seed: Of the run.
            at: The round, from 0.
        """
        phase, found = self.phases[number], dict[str, Array]()
        for item in phase.graph.inputs:
            draw = Draw(item.name, phase.name, item.full_shape(images), seed, at)
            array = self.sources[item.name].read(draw, data, found)
            if array.shape != draw.shape:
                raise SpecError(
                    f"the source of {item.name!r} gives another shape",
                    where=f"{self.name}: phase {phase.name!r}",
                    received=array.shape,
                    expected=draw.shape,
                )
            found[item.name] = array.astype(np.float32 if item.dtype == "float" else np.int64)
        return {**found, **masks_of(lower(phase.graph), images, seed, at * len(self.phases) + number)}
