"""Grows a random network: places each kind on existing values, or on operands like those of its shared cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from cnnbench.conformance.cases import LayerCase, layer_cases
from cnnbench.errors import SpecError
from cnnbench.fuzzing.choices import Choices
from cnnbench.fuzzing.fields import draw_layer, taken
from cnnbench.fuzzing.guards import guard
from cnnbench.spec.fields import checked
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Layer, Linear, Shape, Shapes
from cnnbench.spec.layers.shape import Flatten, Reshape

OPERANDS_MATTER = frozenset(
    {
        "detection",
        "roi_align",
        "boxes",
        "proposals",
        "quantized",
        "yolo_loss",
        "detection_loss",
        "loss",
        "sampling",
        "embedding",
    }
)
BATCHES = (1, 2, 3)
ADAPTED = 400  # values of an operand that other values are brought to


@dataclass(frozen=True)
class PlacedValue:
    """A value of the network that grows, with its shape for one, two and three images."""

    value: Value
    shapes: tuple[Shape, ...]

    @property
    def has_batch(self) -> bool:
        """Whether its first axis is the images."""
        return all(shape[:1] == (batch,) for shape, batch in zip(self.shapes, BATCHES, strict=True))


@cache
def shared_cases() -> Mapping[str, tuple[LayerCase, ...]]:
    """The shared cases of each kind."""
    found: dict[str, list[LayerCase]] = {}
    for case in layer_cases().values():
        if case.batch > 0:
            found.setdefault(case.layer.kind, []).append(case)
    return {kind: tuple(cases) for kind, cases in sorted(found.items())}


class GrowingNetwork:
    """A network to which nodes are added.

    Args:
        name: Of the graph.
        dice: Decides.
    """

    def __init__(self, name: str, dice: Choices) -> None:
        self.draws: dict[str, Callable[[Any, Shape], Any]] = {}
        self._builder = Builder(name)
        self._dice = dice
        self._values: list[PlacedValue] = []
        self._read: set[str] = set()
        self._inputs: list[str] = []
        self._nodes = 0
        self._weighted: list[tuple[str, Layer, Shape]] = []

    def start(self) -> None:
        """One to three images, rows, volumes or vectors of small and odd sizes."""
        dice = self._dice
        for _ in range(dice.one([1, 1, 2, 3])):
            spatial = tuple(dice.one([1, 2, 3, 5, 7, 8, 9, 12, 16]) for _ in range(dice.one([0, 1, 2, 2, 2, 3])))
            self._input((dice.one([1, 2, 3, 4, 6, 8, 12, 16, 24]), *(min(size, 7) for size in spatial[:3])))

    def _input(
        self,
        shape: Shape,
        *,
        batched: bool = True,
        draw: Callable[[Any, Shape], Any] | None = None,
        integer: bool = False,
    ) -> PlacedValue:
        name = f"in{len(self._inputs)}"
        self._inputs.append(name)
        value = self._builder.input(name, shape, dtype="int" if integer else "float", batched=batched)
        if draw is not None:
            self.draws[name] = draw
        placed = PlacedValue(value, tuple((batch, *shape) if batched else shape for batch in BATCHES))
        self._values.append(placed)
        return placed

    def place(self, kind: str) -> bool:
        """Adds a layer of a kind; False where no place was found for it."""
        cases = shared_cases()[kind]
        layer_class = type(cases[0].layer)
        special = layer_class.family in OPERANDS_MATTER or bool(layer_class.int_inputs)
        if not special:
            for _ in range(4):
                if self._shared(kind) or self._on_values(layer_class, self._dice.one(cases)):
                    return True
        return any(self._on_case(self._dice.one(cases)) for _ in range(3))

    def _shared(self, kind: str) -> bool:
        """Applies an earlier layer with weights once more, to a value of the same shape."""
        known = [item for item in self._weighted if item[1].kind == kind]
        if not known or not self._dice.chance(0.5):
            return False
        owner, layer, shape = self._dice.one(known)
        fitting = [item for item in self._values if item.value.shape == shape and item.value.dtype == "float"]
        return bool(fitting) and self._add(layer, [self._dice.one(fitting)], weights_of=owner)

    def _on_values(self, kind: type[Layer], case: LayerCase) -> bool:
        operands = self._operands(kind)
        if operands is None:
            return False
        base = {name: getattr(case.layer, name) for name in case.layer.fields()}
        layer = draw_layer(kind, base, tuple(item.value.shape for item in operands), self._dice)
        return layer is not None and self._guarded(layer, operands)

    def _guarded(self, layer: Layer, operands: Sequence[PlacedValue]) -> bool:
        """Adds a layer behind what its operands need."""
        found = list(operands)
        for position in range(len(operands)):
            for before in guard(layer, position):
                if not self._add(before, [found[position]]):
                    return False
                found[position] = self._values[-1]
        return self._add(layer, found)

    def _operands(self, kind: type[Layer]) -> list[PlacedValue] | None:
        """Values that a kind may read together: one, and others of its shape or of one that broadcasts with it."""
        least, most = kind.num_inputs
        count = self._dice.integer(least, min(most or 4, max(least + 1, 3)) if most != least else least)
        found: list[PlacedValue] = []
        if count:
            first = self._one_value(kind)
            if first is None:
                return None
            found.append(first)
        while len(found) < count:
            found.append(self._partner(found[0]))
        return found

    def _one_value(self, kind: type[Layer]) -> PlacedValue | None:
        known = [item for item in self._values if kind.moves or item.value.dtype == "float"]
        unread = [item for item in known if item.value.name not in self._read]
        if unread and self._dice.chance(0.7):
            known = unread
        return self._dice.one(known) if known else None

    def _partner(self, first: PlacedValue) -> PlacedValue:
        """A value of the same type and shape; otherwise a new input, maybe with axes of one."""
        alike = [
            item
            for item in self._values
            if item.value.dtype == first.value.dtype and item.value.shape == first.value.shape and item is not first
        ]
        if alike and self._dice.chance(0.75):
            return self._dice.one(alike)
        shape = first.value.shape[1:] if first.has_batch else first.value.shape
        if self._dice.chance(0.3):
            shape = tuple(1 if self._dice.chance(0.4) else size for size in shape)
        return self._input(shape, batched=first.has_batch, integer=first.value.dtype == "int")

    def _on_case(self, case: LayerCase) -> bool:
        """A layer on operands like those of a shared case, some of which other values are brought to."""
        operands = [self._case_operand(case, position) for position in range(len(case.images))]
        layer = case.layer
        if self._dice.chance(0.5):
            base = {name: getattr(layer, name) for name in layer.fields()}
            shapes = tuple(item.value.shape for item in operands)
            layer = draw_layer(type(layer), base, shapes, self._dice) or layer
        return self._add(layer, operands)

    def _case_operand(self, case: LayerCase, position: int) -> PlacedValue:
        shape = case.images[position]
        batched = not case.batched or case.batched[position]
        draw = case.draws[position] if case.draws else None
        if draw is None and batched and self._dice.chance(0.7):
            adapted = self._adapted(shape)
            if adapted is not None:
                return adapted
        return self._input(shape, batched=batched, draw=draw, integer=position in type(case.layer).int_inputs)

    def _adapted(self, shape: Shape) -> PlacedValue | None:
        """A value brought to this shape of one image: by itself, or through a linear layer."""
        known = [item for item in self._values if item.has_batch and item.value.dtype == "float"]
        same = [item for item in known if item.value.shape[1:] == shape]
        if same:
            return self._dice.one(same)
        known = [item for item in known if len(item.value.shape) > 1]
        if not known or not 0 < math.prod(shape) <= ADAPTED:
            return None
        item = self._dice.one(known)
        for layer in (Flatten(), Linear(out_features=math.prod(shape)), Reshape(shape=shape)):
            if not self._add(layer, [item]):
                return None
            item = self._values[-1]
        return item

    def _add(self, layer: Layer, operands: Sequence[PlacedValue], weights_of: str | None = None) -> bool:
        """Adds a node where its layer takes the operands for every number of images."""
        shapes = tuple(item.value.shape for item in operands)
        if taken(type(layer), {name: getattr(layer, name) for name in layer.fields()}, shapes) is None:
            return False
        name = f"n{self._nodes}"
        try:
            resolved = checked(layer).resolve(shapes)
            each = [tuple(item.shapes[i] for item in operands) for i in range(len(BATCHES))]
            several = [_shapes_of(resolved, inputs, shapes) for inputs in each]
            values = self._builder.add_all(name, layer, *(item.value for item in operands), weights_of=weights_of)
        except SpecError:
            return False
        self._nodes += 1
        self._read |= {item.value.name for item in operands}
        self._values += [PlacedValue(value, tuple(s[i] for s in several)) for i, value in enumerate(values)]
        if weights_of is None and resolved.weights(shapes) and len(operands) == 1:
            self._weighted.append((name, layer, shapes[0]))
        return True

    def finish(self) -> Graph:
        """The network: whatever nothing reads is an output, the latest of floats first."""
        unread = [item.value for item in self._values if item.value.name not in self._read]
        made = [value for value in unread if value.name not in self._inputs]
        outputs = [*reversed([v for v in made if v.dtype == "float"]), *[v for v in made if v.dtype == "int"]]
        graph = self._builder.build(outputs or [self._values[0].value])
        return without_unread_inputs(graph)


def _shapes_of(layer: Layer, inputs: Shapes, first: Shapes) -> Shapes:
    """The shapes of the outputs for several images.

    Raises SpecError where the layer does not take them, or where its weights would be others than for one image
    (``first``), as of a convolution behind a transposition that makes images channels.
    """
    for specs in (layer.weights, layer.state):
        if [spec.shape for spec in specs(inputs)] != [spec.shape for spec in specs(first)]:
            raise SpecError("the weights depend on the number of images")
    return layer.resolve(inputs).output_shapes(inputs)


def without_unread_inputs(graph: Graph) -> Graph:
    """The graph without inputs that no node reads and no output is."""
    read = {value for node in graph.nodes for value in node.inputs} | {value for _, value in graph.outputs}
    return replace(graph, inputs=tuple(item for item in graph.inputs if item.name in read))
