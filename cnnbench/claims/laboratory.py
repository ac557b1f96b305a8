"""The environment of an experiment: one backend in float64 and the seeds over which figures are repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostGradients, cotangent_name
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Layer, Shape
from cnnbench.spec.losses import MeanSquaredError
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import split_state

Array = NDArray[Any]


@dataclass(frozen=True)
class Laboratory:
    """The backend on which experiments compute, and the seeds of their repetitions.

    Args:
        backend: The backend.
        mode: One of its modes.
        seeds: One seed for each repetition.
    """

    backend: Backend
    mode: str
    seeds: tuple[int, ...] = tuple(range(10))

    @property
    def options(self) -> ProgramOptions:
        """Inference in float64."""
        return ProgramOptions(self.mode, precision("float64"))

    def over_seeds(self, figure: Callable[[int], float]) -> tuple[float, ...]:
        """A figure for each seed."""
        return tuple(map(figure, self.seeds))

    def output(self, graph: Graph, arrays: Mapping[str, Array], *, fold: bool = False, **batch: Array) -> Array:
        """The main output.

        Args:
            graph: The network.
            arrays: Its weights and running statistics.
            fold: Whether batch norms are folded into convolutions.
            batch: The inputs by name.
        """
        return self.outputs(graph, arrays, fold=fold, **batch)[graph.outputs[0][0]]

    def outputs(
        self, graph: Graph, arrays: Mapping[str, Array], *, fold: bool = False, **batch: Array
    ) -> dict[str, Array]:
        """Every output by its name.

        Args:
            graph: The network.
            arrays: Its weights and running statistics.
            fold: Whether batch norms are folded into convolutions.
            batch: The inputs by name.
        """
        program = self.backend.compile_forward(graph, replace(self.options, fold_batch_norm=fold))
        program.load(*split_state(graph, arrays))
        result = program.download(program.run(program.upload(batch)))
        return {name: np.asarray(values) for name, values in result.outputs.items()}

    def gradients(
        self, graph: Graph, arrays: Mapping[str, Array], cotangents: Mapping[str, Array], **batch: Array
    ) -> HostGradients:
        """The gradients of the sum of <cotangent, output> over all outputs.

        Args:
            graph: The network.
            arrays: Its weights and running statistics.
            cotangents: Of each output, by its name.
            batch: The inputs by name.
        """
        program = self.backend.compile_gradient(graph, self.options)
        program.load(*split_state(graph, arrays))
        operands = program.upload({**batch, **{cotangent_name(name): item for name, item in cotangents.items()}})
        return program.download(program.run(operands))

    def fitted(
        self, graph: Graph, arrays: Mapping[str, Array], batch: Mapping[str, Array], rates: Sequence[float]
    ) -> Mapping[str, Array]:
        """The weights after plain gradient descent on the mean squared error of one batch.

        Args:
            graph: The network.
            arrays: Its weights at the start.
            batch: The inputs by name, and ``targets``.
            rates: Of the steps.
        """
        program = self.backend.compile_step(graph, self.options, MeanSquaredError(), SGD(momentum=0.0))
        program.load(*split_state(graph, arrays))
        operands = program.upload(batch)
        for rate in rates:
            program.run(operands, rate)
        return program.snapshot().weights


def network(shape: Shape, *layers: Layer) -> Graph:
    """Layers one after the other, as nodes ``0``, ``1`` ... on an input ``x`` of this shape of one image."""
    builder = Builder("experiment")
    x = builder.input("x", shape)
    for number, layer in enumerate(layers):
        x = builder.add(str(number), layer, x)
    return builder.build(x)


def apart(one: Array, other: Array) -> float:
    """The distance of two arrays over the larger of their norms."""
    size = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    return float(np.linalg.norm(one - other)) / size if size else 0.0
