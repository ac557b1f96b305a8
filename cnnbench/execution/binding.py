"""Binds a graph to a backend's ops: every name becomes an integer slot or position, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cnnbench.errors import UnavailableError
from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.operations import Call, Operations
from cnnbench.execution.program import BoundStep, Program
from cnnbench.spec.graph import Graph, Node, value_names
from cnnbench.spec.layers import MaskSpec, WeightSpec


def bind_program(
    graph: Graph, operations: Operations, *, training: bool = False, channels_last: bool = False
) -> Program:
    """Resolves ops, slots and last uses.

    Args:
        graph: Lowered as far as ``operations`` needs.
        operations: The backend's ops.
        training: Whether it is a training pass: masks become operands.
        channels_last: Whether images are held channels-last inside; outputs are canonical all the same.

    Raises:
        UnavailableError: Names each node whose kind has no op.
    """
    missing = [f"{n.name} ({n.layer.kind})" for n in graph.nodes if n.layer.kind not in operations]
    if missing:
        raise UnavailableError(
            f"backend {operations.backend!r} has no op for {', '.join(missing[:8])}",
            where=graph.name,
            remedy="run without this backend, or register an op for the kind (the hook cnnbench_operations)",
        )
    return _Binder(graph, operations, training, channels_last).bind()


class _Names(NamedTuple):
    """The position of each weight, running statistic and mask by its full name."""

    weights: dict[str, int]
    state: dict[str, int]
    masks: dict[str, int]

    @staticmethod
    def of(graph: Graph, *, training: bool) -> _Names:
        masks = graph.named_masks() if training else ()
        return _Names(_positions(graph.named_weights()), _positions(graph.named_state()), _positions(masks))


def _positions(specs: Sequence[WeightSpec | MaskSpec]) -> dict[str, int]:
    return {spec.name: position for position, spec in enumerate(specs)}


@dataclass
class _Binder:
    """The state of one binding: where each value lies in each layout."""

    graph: Graph
    operations: Operations
    training: bool
    channels_last: bool
    steps: list[BoundStep] = field(default_factory=list)
    slots: dict[tuple[str, bool], int] = field(default_factory=dict)  # (value, is channels-last) -> slot
    layouts: dict[str, bool] = field(default_factory=dict)  # the layout in which a value is produced
    shared_layouts: dict[str, bool] = field(default_factory=dict)  # the layout of the first node that uses weights

    def bind(self) -> Program:
        shapes = self.graph.shapes()
        for item in self.graph.inputs:
            self._new(item.name, False)
        names = _Names.of(self.graph, training=self.training)
        for node in self.graph.nodes:
            self._bind_node(node, names)
        outputs = tuple(self._in_layout(value, False, len(shapes[value])) for _, value in self.graph.outputs)
        return Program(
            graph=self.graph,
            steps=self._with_last_uses(outputs),
            num_slots=len(self.slots),
            inputs=tuple(self.slots[item.name, False] for item in self.graph.inputs),
            outputs=outputs,
            weight_names=tuple(names.weights),
            state_names=tuple(names.state),
            mask_names=tuple(names.masks),
            channels_last=self.channels_last,
            training=self.training,
        )

    def _bind_node(self, node: Node, names: _Names) -> None:
        shapes, inside = self.graph.shapes(), self.graph.input_shapes(node)
        layer, last = node.layer, self._layout_for(node)
        operation = self.operations[layer.kind]
        inputs = tuple(self._in_layout(value, last, len(shapes[value])) for value in node.inputs)
        values = value_names(node.name, len(layer.output_shapes(inside)))
        step = BoundStep(
            name=node.name,
            layer=layer,
            forward=operation.forward,
            backward=operation.backward,
            call=Call(self.training, last),
            inputs=inputs,
            outputs=tuple(self._new(value, last and len(shapes[value]) > 2) for value in values),
            weights=tuple(names.weights[f"{node.owner}.{w.name}"] for w in layer.weights(inside)),
            state=tuple(names.state[f"{node.owner}.{s.name}"] for s in layer.state(inside)),
            masks=tuple(names.masks[f"{node.name}.{m.name}"] for m in layer.masks(inside)) if self.training else (),
            free=(),
        )
        self.steps.append(step)

    def _layout_for(self, node: Node) -> bool:
        """Whether a node runs channels-last: images do if the program does; others follow their first operand.

        Nodes that share weights run in the layout of the first of them, so that one native array serves all.
        """
        layer = node.layer
        if not self.channels_last or layer.layout_rule == "canonical":
            return False
        if layer.layout_rule == "spatial":
            return True
        follows = bool(node.inputs) and self.layouts[node.inputs[0]]
        return self.shared_layouts.setdefault(node.owner, follows)

    def _new(self, value: str, last: bool) -> int:
        self.layouts.setdefault(value, last)
        return self.slots.setdefault((value, last), len(self.slots))

    def _in_layout(self, value: str, last: bool, rank: int) -> int:
        """The slot of a value in a layout; a step that changes its layout is added where it is not there yet."""
        if rank <= 2:
            last = False
        if (value, last) in self.slots:
            return self.slots[value, last]
        source = self.slots[value, not last]
        target = self._new(value, last)
        layer = LayoutChange(to="channels_last" if last else "canonical")
        operation = self.operations[layer.kind]
        name = f"{value}@{layer.to}"
        call = Call(self.training, last)
        self.steps.append(
            BoundStep(name, layer, operation.forward, operation.backward, call, (source,), (target,), (), (), (), ())
        )
        return target

    def _with_last_uses(self, outputs: tuple[int, ...]) -> tuple[BoundStep, ...]:
        seen = set(outputs)
        result: list[BoundStep] = []
        for step in reversed(self.steps):
            touched = dict.fromkeys((*step.inputs, *step.outputs))
            free = tuple(slot for slot in touched if slot not in seen)
            seen.update(touched)
            result.append(replace(step, free=free))
        return tuple(reversed(result))
