"""What the exact check asks of one program: nodes side by side, their integer operands and what is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cnnbench.execution.host import cotangent_name
from cnnbench.numerics.case import Case
from cnnbench.numerics.integers import IntegerCall
from cnnbench.numerics.rounding import Roundoff, host_dtype, to_storage
from cnnbench.numerics.teacher_forcing import forced_name, output_names, teacher_forced
from cnnbench.numerics.ties import Backward, Hull, hull
from cnnbench.spec.graph import Graph

Array = NDArray[Any]


@dataclass(frozen=True)
class IntegerQuestion:
    """The nodes that are exact, their operands, and one graph of all of them."""

    case: Case
    calls: Mapping[str, IntegerCall]

    @property
    def graph(self) -> Graph:
        """All of the nodes side by side."""
        return teacher_forced(self.case.lowered, list(self.calls), self.case.size)

    def host(self, array: Array) -> Array:
        """In the type in which the host hands arrays over; a copy, since a subject may write to what it is given."""
        return array.astype(host_dtype(self.case.policy))

    def weights(self, name: str) -> list[str]:
        """The names of a node's weights."""
        node = self.case.lowered.node(name)
        return [spec.name for spec in node.layer.weights(self.case.lowered.input_shapes(node))]

    def arrays(self, name: str) -> dict[str, Array]:
        """A node's weights by full name."""
        held = zip(self.weights(name), self.calls[name].call.weights, strict=True)
        return {f"{name}.{weight}": self.host(array) for weight, array in held}

    def operands(self, name: str) -> list[Array]:
        """What a node reads."""
        return [self.host(x) for x in self.calls[name].call.inputs]

    def cotangents(self, name: str) -> list[Array]:
        """Of a node's outputs."""
        return [self.host(g) for g in self.calls[name].cotangents]

    @property
    def all_arrays(self) -> dict[str, Array]:
        """The weights of all nodes."""
        return {key: array for name in self.calls for key, array in self.arrays(name).items()}

    @property
    def batch(self) -> dict[str, Array]:
        """What all nodes read."""
        return {forced_name(name, i): x for name in self.calls for i, x in enumerate(self.operands(name))}

    @property
    def all_cotangents(self) -> dict[str, Array]:
        """The cotangents of all nodes, as a gradient program takes them."""
        graph = self.case.lowered
        values = ((name, output_names(graph, graph.node(name))) for name in self.calls)
        return {
            cotangent_name(value): g
            for name, names in values
            for value, g in zip(names, self.cotangents(name), strict=True)
        }

    def with_gradients(self) -> IntegerQuestion:
        """Of the nodes whose gradients are exact."""
        return IntegerQuestion(self.case, {n: item for n, item in self.calls.items() if item.gradients is not None})

    def ties(self, name: str, position: int, exact: Array) -> Hull | None:
        """What is right at the ties of a node's first operand.

        Args:
            name: The node.
            position: Of the operand.
            exact: Its gradient.
        """
        item = self.calls[name]
        u = Roundoff.of(self.case.policy)
        return None if position else hull(Backward(item.call, item.cotangents[0], exact), u)

    def stored(self, exact: Array) -> Array:
        """Rounded to the storage type."""
        return to_storage(exact, self.case.policy)
