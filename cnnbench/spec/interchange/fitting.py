"""What fitting the weights of a file to a network takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbench.errors import DataError
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.interchange.keras_config import KerasModel
from cnnbench.spec.layers import Shape, WeightSpec

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array


class FileArrays(dict[str, "Array"]):
    """Arrays by the names of a file.

    Args:
        arrays: By name, in the file's order.
        notes: What was done to them on reading, or left unread.
    """

    def __init__(self, arrays: Mapping[str, Array], notes: Sequence[str] = ()) -> None:
        super().__init__(arrays)
        self.notes = tuple(notes)


class KerasArrays(FileArrays):
    """Arrays by ``<layer>.<weight>`` of a file of Keras, which ``match`` fits otherwise than a state dict.

    Args:
        arrays: By name, in the order of the model's layers where the file tells it, in canonical layouts; a linear
            layer behind a flatten still reads (H, W, C).
        model: Its configuration, None where the file has none.
        shared: By the name of a layer that is another too, which no configuration tells, the name of that one.
    """

    def __init__(
        self, arrays: Mapping[str, Array], model: KerasModel | None = None, shared: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(arrays)
        self.model = model
        self.shared = shared or {}


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
    """The shape of every weight and running statistic once, node by node, each node's weights before its state."""
    return {f"{node.owner}.{spec.name}": spec.shape for node in graph.nodes for spec in _arrays_of(graph, node)}


def every_use(graph: Graph) -> dict[str, Shape]:
    """As ``expected_shapes``, but what several nodes share stands there under the name of each of them."""
    return {f"{node.name}.{spec.name}": spec.shape for node in graph.nodes for spec in _arrays_of(graph, node)}


def shared_names(graph: Graph) -> dict[str, str]:
    """What a file may also call an array that several nodes use: its name at each of them -> its full name."""
    return {
        f"{node.name}.{spec.name}": f"{node.owner}.{spec.name}"
        for node in graph.nodes
        if node.weights_of is not None
        for spec in _arrays_of(graph, node)
    }


def _arrays_of(graph: Graph, node: Node) -> tuple[WeightSpec, ...]:
    shapes = graph.input_shapes(node)
    return (*node.layer.weights(shapes), *node.layer.state(shapes))


def each_once(given: Mapping[str, Array], aliases: Mapping[str, str], where: str) -> dict[str, Array]:
    """The arrays of a file, each that nodes share once and under its full name.

    Args:
        given: By the network's names, where a shared array may stand once or several times.
        aliases: Of ``shared_names``.
        where: What messages call the file.

    Raises:
        DataError: Copies of one array differ.
    """
    import numpy as np

    found = {name: array for name, array in given.items() if name not in aliases}
    kept_as = {name: name for name in found}
    for name, array in given.items():
        owner = aliases.get(name)
        if owner is None:
            continue
        if not np.array_equal(found.setdefault(owner, array), array, equal_nan=True):
            raise DataError(
                "two arrays differ that the network has as one, because their nodes share weights",
                where=where,
                received=f"{kept_as[owner]} and {name}",
                expected="equal arrays, or the first alone",
                remedy="leave out weights_of where each node is to have weights of its own",
            )
        kept_as.setdefault(owner, name)
    return found
