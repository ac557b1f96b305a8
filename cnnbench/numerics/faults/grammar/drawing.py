"""What a draw is made of: chance, the ground that faults are put into, and what is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cnnbench.numerics.faults.engine.base import OperationChange
from cnnbench.numerics.faults.engine.programs import Compilers
from cnnbench.spec.graph import is_within

if TYPE_CHECKING:
    import numpy as np

    from cnnbench.execution.contract import Backend
    from cnnbench.numerics.case import Case
    from cnnbench.spec.graph import Graph, Node
    from cnnbench.spec.losses import Loss
    from cnnbench.spec.optimizers import Optimizer

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class DrawnChange:
    """What is changed, and where it must be located.

    Args:
        what: Its class: ``element``, ``channel``, ``constant``, ``term``, ``precision``, ``field`` ...
        text: In words.
        kind: As ``Fault.kind``.
        nodes: The nodes or terms any of which locates it; none where the whole program is to be named.
        operation, loss, optimizer, programs: As ``Fault`` has them; one of the four.
        kept: Whether it is of what a program keeps from one load or run to the next.
    """

    what: str
    text: str
    kind: str
    nodes: frozenset[str]
    operation: OperationChange | None = None
    loss: Callable[[Loss], Loss] | None = None
    optimizer: Callable[[Optimizer], Optimizer] | None = None
    programs: Callable[[Backend], Compilers] | None = None
    kept: bool = False


@dataclass(frozen=True)
class Ground:
    """What faults are put into.

    Args:
        case: The question, with the network.
        graph: The network in the kinds that the backend has ops for.
    """

    case: Case
    graph: Graph

    @property
    def places(self) -> list[Node]:
        """The nodes that are to be wrong: not those around the example of a kind, where it is one."""
        own = [n for n in self.graph.nodes if is_within(n.name, "layer")]
        nodes = own or list(self.graph.nodes)
        return [node for node in nodes if node.layer.kind != "parameter"] or nodes

    def nodes_of(self, kind: str) -> list[Node]:
        """The nodes of a kind."""
        return [node for node in self.graph.nodes if node.layer.kind == kind]

    @property
    def batch_norms(self) -> list[Node]:
        """The batch norms that follow a convolution, which folding takes into it."""
        kinds = {node.name: node.layer.kind for node in self.graph.nodes}
        return [n for n in self.nodes_of("batch_norm") if kinds.get(n.inputs[0]) in ("conv", "conv_transpose")]


class Chance:
    """Draws of one fault.

    Args:
        generator: Of its own.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def of(self, items: Sequence[_Item]) -> _Item:
        """One of the items, which are as likely as each other."""
        return items[int(self._generator.integers(len(items)))]

    def weighted(self, items: Sequence[tuple[_Item, float]]) -> _Item:
        """One of the items, each with its weight."""
        total = sum(weight for _, weight in items)
        rest = float(self._generator.random()) * total
        for item, weight in items:
            rest -= weight
            if rest < 0:
                return item
        return items[-1][0]

    def shuffle(self, items: list[Any]) -> None:
        """Puts the items in another order."""
        self._generator.shuffle(items)

    def share(self) -> float:
        """A number from 0 to below 1, to three digits."""
        return int(self._generator.integers(1000)) / 1000

    def whole(self, least: int, most: int) -> int:
        """An integer from ``least`` to ``most``."""
        return int(self._generator.integers(least, most + 1))

    def error(self) -> float:
        """A relative error of 1e-4 to 1 in either direction, uniform in its logarithm, to two digits."""
        size = float(f"{10 ** self._generator.uniform(-4, 0):.1e}")
        return size if self._generator.random() < 0.5 else -size


def signed(value: Any) -> str:
    """A relative error in percent with its sign."""
    return f"{100 * value:+.2g} %"
