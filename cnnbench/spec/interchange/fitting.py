"""What fitting the weights of a file to a network takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Shape

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array


class KerasArrays(dict[str, "Array"]):
    """Arrays by ``<layer>.<weight>`` of a file of Keras, which ``match`` fits otherwise than a state dict.

    Args:
        arrays: By name, in the order of the model's layers where the file tells it, in canonical layouts; a linear
            layer behind a flatten still reads (H, W, C).
        epsilons: Of the normalisations, by layer, where the file tells them.
    """

    def __init__(self, arrays: Mapping[str, Array], epsilons: Mapping[str, float]) -> None:
        super().__init__(arrays)
        self.epsilons = dict(epsilons)


@dataclass(frozen=True)
class Fitted:
    """Weights that fit a network.

    Args:
        arrays: By the full names of the network, in its order.
        notes: What was changed or left aside, without a change of any prediction.
        differences: Where the network of the file computes something else.
    """

    arrays: dict[str, Array]
    notes: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


def expected_shapes(graph: Graph) -> dict[str, Shape]:
    """The shape of every weight and running statistic, node by node, each node's weights before its state."""
    return {
        f"{node.name}.{spec.name}": spec.shape
        for node in graph.nodes
        for specs in (node.layer.weights(graph.input_shapes(node)), node.layer.state(graph.input_shapes(node)))
        for spec in specs
    }
