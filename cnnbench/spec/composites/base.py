"""Kinds that exist only as a small graph of primitive kinds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from cnnbench.errors import CnnbenchError, SpecError
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers.arrays import MaskSpec, WeightSpec
from cnnbench.spec.layers.base import Layer, Shapes


@dataclass(frozen=True, kw_only=True)
class Composite(Layer):
    """A layer that says how primitives make it up; every backend and all gradients follow.

    A subclass overrides ``expand`` only. The weights of a composite are those of its parts, by their names within
    it (``affine.weight``), so that ``<node>.affine.weight`` names the same array before and after lowering.
    """

    layout_rule = "canonical"
    is_composite: ClassVar[bool] = True

    def expand(self, builder: Builder, *inputs: Value) -> Value | tuple[Value, ...]:
        """Adds the parts to ``builder`` and returns the output value or values."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it is made of")

    def graph(self, inputs: Shapes) -> Graph:
        """The parts as a graph of their own for these input shapes."""
        return _expanded(self, inputs)

    def output_shapes(self, inputs: Shapes) -> Shapes:
        graph = self.graph(inputs)
        shapes = graph.shapes()
        return tuple(shapes[value] for _, value in graph.outputs)

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return tuple(self.graph(inputs).named_weights())

    def state(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return tuple(self.graph(inputs).named_state())

    def masks(self, inputs: Shapes) -> tuple[MaskSpec, ...]:
        return tuple(self.graph(inputs).named_masks())

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        return self.graph(inputs).macs()

    def macs_attention(self, inputs: Shapes, outputs: Shapes) -> int:
        return self.graph(inputs).macs_attention()


@lru_cache(maxsize=4096)
def _expanded(layer: Composite, inputs: Shapes) -> Graph:
    builder = Builder(layer.kind)
    values = [
        builder.input(f"input{i}", shape, dtype="int" if i in layer.int_inputs else "float", batched=False)
        for i, shape in enumerate(inputs)
    ]
    try:
        return builder.build(layer.expand(builder, *values))
    except CnnbenchError:
        raise
    except Exception as error:
        if layer.is_shipped:
            raise
        raise SpecError(  # a mistake of whoever wrote the kind, and no defect of cnnbench
            f"the kind {layer.kind!r} does not expand: {type(error).__name__}: {error}",
            where=f"{type(layer).__module__}.{type(layer).__name__}",
            received=", ".join(str(shape) for shape in inputs),
            remedy="an input has .shape (its batch axis is 1) and .channels; -v shows where it fails",
        ) from error
