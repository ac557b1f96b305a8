"""What a loss is: which outputs it reads, what it compares them with, and the layers that compute it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.fields import construct
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Layer, Shape


@dataclass(frozen=True)
class LossTarget:
    """What a loss compares outputs with: an input of the graph that the loss is put into.

    Args:
        name: Of the input.
        shape: Of one image, without the batch axis; the whole shape where ``batched`` is false.
        draw: (NumPy generator, whole shape) -> values that fit, for checks.
        dtype: ``int`` for indices.
        batched: Whether a batch axis stands before ``shape``.
    """

    name: str
    shape: Shape
    draw: Callable[[Any, Shape], Any]
    dtype: Literal["float", "int"] = "float"
    batched: bool = True

    def full_shape(self, batch: int) -> Shape:
        """The shape with its batch axis."""
        return (batch, *self.shape) if self.batched else self.shape


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A scalar function of a network's outputs and of targets, averaged over the batch.

    A loss of the main output and of one array ``targets`` overrides ``layer``, ``target_shape`` and ``draw_targets``,
    and backends compute it behind the network. Any other is a ``JointLoss``, which ``objective_graph`` puts into the
    network's graph.

    Class attributes:
        kind: The registered name.
        int_targets: Whether targets are class indices; the others are values.
        has_targets: Whether a batch holds targets at all.
    """

    kind: ClassVar[str] = ""
    int_targets: ClassVar[bool] = False
    has_targets: ClassVar[bool] = True

    def __init_subclass__(cls, *, kind: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind:
            cls.kind = kind
            _LOSSES[kind] = cls

    @property
    def of_layer(self) -> bool:
        """Whether only its layer computes it: a backend's function for its kind does not know these fields."""
        return False

    def layer(self) -> Layer:
        """The layer that computes it from (output, targets), for a backend that has no function of its own."""
        raise NotImplementedError(f"{type(self).__name__} does not name its layer")

    def num_classes(self, output: Shape) -> int:
        """Below which targets that are class indices stay."""
        return output[1]

    def target_shape(self, output: Shape) -> Shape:
        """The shape of the targets for a main output of this shape."""
        return (output[0], *output[2:]) if self.int_targets else output

    def draw_targets(self, generator: Any, output: Shape) -> Any:
        """Targets from a NumPy generator that fit a main output of this shape."""
        shape = self.target_shape(output)
        return (
            generator.integers(0, self.num_classes(output), shape) if self.int_targets else generator.normal(size=shape)
        )

    def network(self, graph: Graph) -> Graph:
        """The network as this loss trains it, with weights of the same names: itself, unless a loss needs another."""
        return graph

    def network_inputs(self, graph: Graph) -> tuple[LossTarget, ...]:
        """What ``network(graph)`` takes beside the network's own inputs. Args: graph: the network itself."""
        return ()

    def reads(self, graph: Graph) -> tuple[str, ...]:
        """The names of the outputs that it reads."""
        return (graph.outputs[0][0],)

    def targets(self, outputs: Mapping[str, Shape]) -> tuple[LossTarget, ...]:
        """What it compares outputs of these shapes (of one image, with its batch axis), by name, with."""
        (output,) = outputs.values()

        def draw(generator: Any, shape: Shape) -> Any:
            return self.draw_targets(generator, (shape[0], *output[1:]))

        dtype: Literal["float", "int"] = "int" if self.int_targets else "float"
        return (LossTarget("targets", self.target_shape(output)[1:], draw, dtype),)

    def terms(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        """Adds the layers that compute it, and returns ``loss``, the whole, and the terms that have a name.

        Args:
            builder: Where the nodes go.
            outputs: Those of ``reads`` by name.
            targets: Those of ``targets`` by name.
        """
        return {"loss": builder.add("loss", self.layer(), *outputs.values(), *targets.values())}


_LOSSES: dict[str, type[Loss]] = {}


@dataclass(frozen=True, kw_only=True)
class JointLoss(Loss):
    """A loss of several outputs, or of targets of other names or of none: it lives in a graph (``objective_graph``).

    A subclass overrides ``reads``, ``targets`` and ``terms``.
    """

    def layer(self) -> Layer:
        raise SpecError(
            f"the loss {self.kind!r} reads outputs and targets by name",
            remedy="put it into the network's graph: cnnbench.spec.losses.objective_graph",
        )


def losses() -> Mapping[str, type[Loss]]:
    """Every loss by name."""
    return MappingProxyType(_LOSSES)


def loss_from_fields(kind: str, fields: dict[str, Any]) -> Loss:
    """A loss from plain data. Raises SpecError for an unknown kind or field, or a value of the wrong type."""
    if kind not in _LOSSES:
        raise SpecError(f"unknown loss {kind!r}", remedy=did_you_mean(kind, _LOSSES))
    return construct(_LOSSES[kind], kind, fields)
