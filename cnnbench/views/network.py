"""The interface of views to backends: a network's values, and gradients with respect to its input or inner values."""

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
from cnnbench.execution.host import HostArrays, cotangent_name
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import LogSoftmax, Softmax
from cnnbench.spec.passes import lower
from cnnbench.spec.weights import split_state
from cnnbench.views.cuts import opened, opening

Array = NDArray[Any]
AT_ONCE = 8  # images in one call


class Runner(Protocol):
    """Computes graphs and their gradients: a backend, the reference, or the reference with noise."""

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
    """Computes on a backend; the programs of each graph are compiled once and kept.

    Args:
        backend: The loaded backend.
        options: The options of its inference programs.
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
    """A network that takes images, and the runner that computes it.

    Args:
        graph: The network.
        arrays: Its weights and running statistics by full name.
        runner: The backend or reference that computes.

    Raises:
        SpecError: The network's input is not one batch of images.
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
        """The shape of every value for a batch of one image."""
        return self.graph.shapes()

    def values(self, images: Array, names: Sequence[str], graph: Graph | None = None) -> dict[str, Array]:
        """The values of nodes on a batch of images, by name.

        Args:
            images: (N, C, H, W), computed ``AT_ONCE`` at a time.
            names: Names of values, for example ``conv1`` or ``split:1``.
            graph: A graph with the same weights, in place of the network's own.
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
            images: (N, C, H, W), computed ``AT_ONCE`` at a time.
            cotangents: The cotangent of each value by its name, one row for each image.
            graph: A graph with the same weights, in place of the network's own.
        """
        part = (graph or self.graph).prefix(tuple(cotangents))
        found = []
        for start in range(0, len(images), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            batch = {self.input: images[rows], **{cotangent_name(name): g[rows] for name, g in cotangents.items()}}
            found.append(self.runner.gradient(part, self.arrays, batch)[self.input])
        return np.concatenate(found)

    def inner_gradient(self, images: Array, value: str, cotangents: Mapping[str, Array]) -> tuple[Array, Array]:
        """An inner value, and the gradient of sum <cotangent, later value> with respect to it.

        Args:
            images: (N, C, H, W).
            value: Name of the inner value.
            cotangents: The cotangents of values that depend on it, by name.
        """
        inner = self.values(images, [value])[value]
        part = opened(self.graph, [value]).prefix(tuple(cotangents))
        found = []
        for start in range(0, len(images), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            batch = {self.input: images[rows], opening(value): inner[rows]}
            batch |= {cotangent_name(name): g[rows] for name, g in cotangents.items()}
            found.append(self.runner.gradient(part, self.arrays, batch)[opening(value)])
        return inner, np.concatenate(found)

    @cached_property
    def lowered(self) -> Graph:
        """The network in primitive kinds, in which every ReLU is a node."""
        return lower(self.graph)

    @cached_property
    def scores(self) -> str:
        """Name of the logits: the main output, or the input of a softmax that ends the network.

        Raises:
            SuiteError: The main output is not (N, classes).
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
        """The number of classes."""
        return self.shapes[self.scores][1]

    def one_hot(self, classes: Sequence[int]) -> Array:
        """One-hot rows (N, classes), the cotangents of the logits for one class of each image.

        Raises:
            SuiteError: A class does not exist.
        """
        for number in classes:
            if not 0 <= number < self.num_classes:
                expected = f"0 to {self.num_classes - 1}"
                raise SuiteError(
                    f"{self.graph.name} has no such class", where="--class", received=number, expected=expected
                )
        return np.eye(self.num_classes, dtype=np.float32)[list(classes)]

    def node(self, name: str | None, default: Node | None = None) -> Node:
        """The node of that name, or the default where ``name`` is None.

        Raises:
            SuiteError: There is no such node (the message has the nearest name), or neither name nor default was given.
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
        """The nodes whose output is a feature map (N, C, H, W) with more than one position, in their order."""
        return [
            node
            for node in self.graph.nodes
            if len(shape := self.shapes[node.name]) == 4 and shape[2] * shape[3] > 1
            if self.graph.dtypes[node.name] == "float"
        ]

    @property
    def last_map(self) -> Node | None:
        """The last feature map on which the logits depend; None where there is none."""
        before = {node.name for node in self.graph.prefix([self.scores]).nodes}
        return next((node for node in reversed(self.maps) if node.name in before), None)
