"""A network whose discrete choices are given: between them it is smooth, so that rounding moves it little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.case import Case
from cnnbench.numerics.choices import has_choices
from cnnbench.numerics.teacher_forcing import output_names
from cnnbench.spec.graph import Graph, Input, Node

Array = NDArray[Any]
FED = "chosen."  # before the names of inputs that hold choices


@dataclass(frozen=True)
class ForcedChoices:
    """The choices of a case's network.

    A choice is a node with a rule of ``choices``, each of whose integers has the images along its first axis. A node
    whose integers join images with something else stays as it is.

    Args:
        case: With the network.
    """

    case: Case

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that choose, in the network's order."""
        return tuple(node for node in self.case.lowered.nodes if self._is_choice(node))

    def _is_choice(self, node: Node) -> bool:
        if not has_choices(node.layer.kind):
            return False
        graph = self.case.lowered
        one, two = graph.shapes(), graph.shapes(2)
        return all(
            one[value][:1] == (1,) and two[value] == (2, *one[value][1:]) for value in self.positions(node).values()
        )

    def positions(self, node: Node) -> dict[int, str]:
        """The values of a node's integers, by the output's number."""
        graph = self.case.lowered
        return {i: value for i, value in enumerate(output_names(graph, node)) if graph.dtypes[value] == "int"}

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The values that are chosen, of all nodes."""
        return tuple(value for node in self.nodes for value in self.positions(node).values())

    @cached_property
    def operand_outputs(self) -> dict[str, str]:
        """The values that the nodes choose by, by the names of the outputs of ``given`` that hold them.

        No graph's own output has a name with a space.
        """
        return {f"operand of {value}": value for node in self.nodes for value in node.inputs}

    @cached_property
    def with_choices(self) -> Graph:
        """The network with its choices as further outputs."""
        graph = self.case.lowered
        return replace(graph, outputs=(*graph.outputs, *((f"{FED}{value}", value) for value in self.values)))

    @cached_property
    def given(self) -> Graph:
        """The network that reads its choices as inputs ``chosen.<value>``; what they are made of are outputs."""
        graph, fed = self.case.lowered, {value: f"{FED}{value.replace(':', '.')}" for value in self.values}
        shapes = graph.shapes()
        inputs = (*graph.inputs, *(Input(name, shapes[value][1:], "int") for value, name in fed.items()))
        nodes = tuple(
            replace(node, inputs=tuple(fed.get(value, value) for value in node.inputs)) for node in graph.nodes
        )
        outputs = tuple((name, fed.get(value, value)) for name, value in graph.outputs)
        seen = tuple((name, fed.get(value, value)) for name, value in self.operand_outputs.items())
        return Graph(graph.name, inputs, nodes, (*outputs, *seen))

    def batch(self, choices: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs of ``given``.

        Args:
            choices: By value; those of more images than the case has are cut.
        """
        fed = {f"{FED}{value.replace(':', '.')}": choices[value][: self.case.size] for value in self.values}
        return {**self.case.inputs, **fed}

    def of(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The choices among the outputs of ``with_choices``."""
        return {value: np.asarray(outputs[f"{FED}{value}"]) for value in self.values}
