"""What an experiment works with: one backend in float64, seeded inputs, and the seeds over which figures are taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostGradients
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Layer, Shape
from cnnbench.spec.losses import MeanSquaredError
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import split_state

Array = NDArray[Any]


@dataclass(frozen=True)
class Laboratory:
    """A backend, and seeds.

    Args:
        backend: Who computes.
        mode: One of its modes.
        seeds: Of the repetitions.
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

    def output(self, graph: Graph, arrays: Mapping[str, Array], **batch: Array) -> Array:
        """The main output.

        Args:
            graph: The network.
            arrays: Its weights and running statistics.
            batch: The inputs by name.
        """
        program = self.backend.compile_forward(graph, self.options)
        program.load(*split_state(graph, arrays))
        result = program.download(program.run(program.upload(batch)))
        return np.asarray(result.outputs[graph.outputs[0][0]])

    def gradients(self, graph: Graph, arrays: Mapping[str, Array], cotangent: Array, **batch: Array) -> HostGradients:
        """The gradients of <cotangent, main output>.

        Args:
            graph: The network.
            arrays: Its weights and running statistics.
            cotangent: Of the main output's shape.
            batch: The inputs by name.
        """
        program = self.backend.compile_gradient(graph, self.options)
        program.load(*split_state(graph, arrays))
        operands = program.upload({**batch, f"gradient.{graph.outputs[0][0]}": cotangent})
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
