"""The seam of all views: a network's values and gradients with respect to values, from any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError, SuiteError, did_you_mean
from cnnbench.execution.compiled import ForwardProgram, GradientProgram
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostArrays
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import LogSoftmax, Softmax
from cnnbench.spec.passes import lower
from cnnbench.spec.weights import split_state
from cnnbench.views.cuts import opened, opening

Array = NDArray[Any]
AT_ONCE = 8  # images in one call


class Runner(Protocol):
    """Who computes: a backend, the reference, or the reference with noise."""

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays) -> Mapping[str, Array]:
        """The graph's outputs by name.

        Args:
            graph: What is computed.
            arrays: Weights and running statistics by full name; more than the graph needs does no harm.
            batch: Its inputs by name.
        """

    def gradient(self, graph: Graph, arrays: HostArrays, batch: HostArrays) -> Mapping[str, Array]:
        """The gradients of sum <cotangent, output> over all outputs, by input name.

        Args:
            graph: What is computed.
            arrays: As in ``forward``.
            batch: Its inputs by name, and ``gradient.<output>`` for each output.
        """


@dataclass
class BackendRunner:
    """A loaded backend, whose programs are compiled once for each graph and kept.

    Args:
        backend: Loaded.
        options: Of its programs; inference.
    """

    backend: Backend
    options: ProgramOptions
    _forward: dict[str, ForwardProgram] = field(default_factory=dict)
    _gradient: dict[str, GradientProgram] = field(default_factory=dict)

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays) -> Mapping[str, Array]:
        program = self._forward.get(graph.digest)
        if program is None:
            program = self._forward[graph.digest] = self.backend.compile_forward(graph, self.options)
            program.load(*split_state(graph, arrays))
        return program.download(program.run(program.upload(batch))).outputs

    def gradient(self, graph: Graph, arrays: HostArrays, batch: HostArrays) -> Mapping[str, Array]:
        program = self._gradient.get(graph.digest)
        if program is None:
            options = replace(self.options, trained=())
            program = self._gradient[graph.digest] = self.backend.compile_gradient(graph, options)
            program.load(*split_state(graph, arrays))
        return program.download(program.run(program.upload(batch))).inputs


@dataclass(frozen=True)
class ViewedNetwork:
    """A network of one input of images, and who computes it.

    Args:
        graph: The network.
        arrays: Its weights and running statistics by full name.
        runner: Who computes.

    Raises:
        SpecError: It has another number of inputs, or one of indices.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    runner: Runner

    def __post_init__(self) -> None:
        inputs = self.graph.inputs
        if len(inputs) != 1 or inputs[0].dtype != "float" or not inputs[0].batched or len(inputs[0].shape) != 3:
            raise SpecError(
                "a view needs a network whose one input is a batch of images",
                where=self.graph.name,
                received=", ".join(f"{item.name} {item.shape}" for item in inputs),
                expected="one input (C, H, W)",
            )

    @property
    def input(self) -> str:
        """The input's name."""
        return self.graph.inputs[0].name

    @property
    def image(self) -> tuple[int, ...]:
        """The shape (C, H, W) of an image."""
        return self.graph.inputs[0].shape

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every value of one image, batch axis included."""
        return self.graph.shapes()

    def values(self, images: Array, names: Sequence[str], graph: Graph | None = None) -> dict[str, Array]:
        """Values of inner nodes, or of outputs by the name of their value.

        Args:
            images: (N, C, H, W), computed a few at a time.
            names: ``conv1``, ``split:1``.
            graph: In place of the network's own, with the same weights.
        """
        part = (graph or self.graph).prefix(tuple(names))
        parts = [
            self.runner.forward(part, self.arrays, {self.input: images[start : start + AT_ONCE]})
            for start in range(0, len(images), AT_ONCE)
        ]
        return {name: np.concatenate([found[name] for found in parts]) for name in names}

    def gradient(self, images: Array, cotangents: Mapping[str, Array], graph: Graph | None = None) -> Array:
        """The gradient of sum <cotangent, value> with respect to the images, by the backend's own differentiation.

        Args:
            images: (N, C, H, W), computed a few at a time.
            cotangents: By the name of their value, one row for each image.
            graph: In place of the network's own, with the same weights.
        """
        part = (graph or self.graph).prefix(tuple(cotangents))
        found = []
        for start in range(0, len(images), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            batch = {self.input: images[rows], **{f"gradient.{name}": g[rows] for name, g in cotangents.items()}}
            found.append(self.runner.gradient(part, self.arrays, batch)[self.input])
        return np.concatenate(found)

    def inner_gradient(self, images: Array, value: str, cotangents: Mapping[str, Array]) -> tuple[Array, Array]:
        """A value, and the gradient of sum <cotangent, other value> with respect to it.

        Args:
            images: (N, C, H, W).
            value: With respect to which.
            cotangents: By the name of values behind it.
        """
        inner = self.values(images, [value])[value]
        part = opened(self.graph, [value]).prefix(tuple(cotangents))
        found = []
        for start in range(0, len(images), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            batch = {self.input: images[rows], opening(value): inner[rows]}
            batch |= {f"gradient.{name}": g[rows] for name, g in cotangents.items()}
            found.append(self.runner.gradient(part, self.arrays, batch)[opening(value)])
        return inner, np.concatenate(found)

    @cached_property
    def lowered(self) -> Graph:
        """The network in primitive kinds, in which every ReLU is a node."""
        return lower(self.graph)

    @cached_property
    def scores(self) -> str:
        """The value of the classes' scores: the main output, or what a softmax at the end of the network reads.

        Raises:
            SuiteError: The main output is no row of scores for each image.
        """
        value = self.graph.outputs[0][1]
        if len(self.shapes[value]) != 2:
            raise SuiteError(
                f"{self.graph.name} has no classes",
                where="--what",
                received=f"a main output of shape (N, {', '.join(map(str, self.shapes[value][1:]))})",
                expected="one score for each class",
                remedy="take a view that needs no class: 'cnnbench list views'",
            )
        last = next((node for node in self.graph.nodes if node.name == value), None)
        return last.inputs[0] if last is not None and isinstance(last.layer, Softmax | LogSoftmax) else value

    @property
    def num_classes(self) -> int:
        """How many scores there are."""
        return self.shapes[self.scores][1]

    def one_hot(self, classes: Sequence[int]) -> Array:
        """The cotangent of the scores for one class an image.

        Raises:
            SuiteError: There is no such class.
        """
        for number in classes:
            if not 0 <= number < self.num_classes:
                expected = f"0 to {self.num_classes - 1}"
                raise SuiteError(
                    f"{self.graph.name} has no such class", where="--class", received=number, expected=expected
                )
        return np.eye(self.num_classes, dtype=np.float32)[list(classes)]

    def node(self, name: str | None, default: Node | None = None) -> Node:
        """The node of that name, or the default where none is named.

        Raises:
            SuiteError: There is none, with the nearest name; or none was named and there is no default.
        """
        names = {node.name: node for node in self.graph.nodes}
        if name is None and default is not None:
            return default
        if name is None or name not in names:
            remedy = did_you_mean(name or "", names)
            raise SuiteError(f"{self.graph.name} has no node {name!r}", where="--node", remedy=remedy)
        return names[name]

    @property
    def maps(self) -> list[Node]:
        """The nodes that make feature maps (N, C, H, W) of more than one place, in their order."""
        return [
            node
            for node in self.graph.nodes
            if len(shape := self.shapes[node.name]) == 4 and shape[2] * shape[3] > 1
            if self.graph.dtypes[node.name] == "float"
        ]

    @property
    def last_map(self) -> Node | None:
        """The last of them before the scores; None where there is none."""
        before = {node.name for node in self.graph.prefix([self.scores]).nodes}
        return next((node for node in reversed(self.maps) if node.name in before), None)
