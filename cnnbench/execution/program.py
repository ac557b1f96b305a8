"""The only graph walk: names are resolved once when a program is bound, then values flow through integer slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cnnbench.errors import UnavailableError
from cnnbench.execution.operations import Array, Backward, Call, Forward, LayoutChange, Operations
from cnnbench.spec.graph import Graph, Node, value_names
from cnnbench.spec.layers import Layer


@dataclass(frozen=True, slots=True)
class Step:
    """One bound call.

    Args:
        name: The node's name, or ``<value>@<layout>`` for an inserted layout change.
        layer, forward, backward, call: What is computed.
        inputs, outputs: Slots of values. masks: positions among the program's masks.
        weights, state: Positions among the program's weights and state.
        free: Slots whose last use this step is.
    """

    name: str
    layer: Layer
    forward: Forward
    backward: Backward | None
    call: Call
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    weights: tuple[int, ...]
    state: tuple[int, ...]
    masks: tuple[int, ...]
    free: tuple[int, ...]


class ForwardResult(NamedTuple):
    """The outputs in the order of ``Program.outputs``, the state after the pass, and what ``reverse`` needs."""

    outputs: tuple[Array, ...]
    state: list[Array]
    tape: Tape | None


class Tape(NamedTuple):
    """What a recorded forward pass leaves for the reverse pass: each step's ``saved``."""

    saved: list[Any]


class ReverseResult(NamedTuple):
    """Gradients of the weights and the inputs, None where a value has none."""

    weights: list[Array | None]
    inputs: tuple[Array | None, ...]


@dataclass(frozen=True)
class Program:
    """A graph bound to a backend's ops.

    Args:
        graph: The lowered graph.
        steps: The calls in order.
        inputs: The slot of each graph input, in its order.
        outputs: The slot of each output (canonical layout), in the order of the graph's outputs.
        weight_names, state_names, mask_names: Full names in the order in which ``forward`` takes the arrays.
        channels_last: Whether images are held channels-last inside.
    """

    graph: Graph
    steps: tuple[Step, ...]
    num_slots: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    weight_names: tuple[str, ...]
    state_names: tuple[str, ...]
    mask_names: tuple[str, ...]
    channels_last: bool
    training: bool

    @staticmethod
    def bind(graph: Graph, operations: Operations, *, training: bool = False, channels_last: bool = False) -> Program:
        """Resolves ops, slots and last uses. ``graph`` is lowered as far as ``operations`` needs.

        Raises UnavailableError that names each node whose kind has no op.
        """
        missing = [f"{n.name} ({n.layer.kind})" for n in graph.nodes if n.layer.kind not in operations]
        if missing:
            raise UnavailableError(
                f"backend {operations.backend!r} lacks ops", where=graph.name, received=", ".join(missing[:8])
            )
        return _Binder(graph, operations, training, channels_last).bind()

    def forward(
        self,
        inputs: Sequence[Array],
        weights: Sequence[Array],
        state: Sequence[Array],
        masks: Sequence[Array] = (),
        *,
        record: bool = False,
    ) -> ForwardResult:
        """Runs every step once. With ``record`` the ops' ``saved`` values are kept for ``reverse``."""
        slots: list[Any] = [None] * self.num_slots
        for slot, value in zip(self.inputs, inputs, strict=True):
            slots[slot] = value
        new_state = list(state)
        saved: list[Any] = []
        for step in self.steps:
            call = step.call
            if step.masks:
                call = call._replace(masks=tuple([masks[i] for i in step.masks]))
            result = step.forward(
                step.layer,
                tuple([slots[i] for i in step.inputs]),
                tuple([weights[i] for i in step.weights]),
                tuple([new_state[i] for i in step.state]),
                call,
            )
            for slot, value in zip(step.outputs, result.outputs, strict=True):
                slots[slot] = value
            if result.state:
                for position, value in zip(step.state, result.state, strict=True):
                    new_state[position] = value
            if record:
                saved.append(result.saved)
            for slot in step.free:
                slots[slot] = None
        outputs = tuple([slots[i] for i in self.outputs])
        return ForwardResult(outputs, new_state, Tape(saved) if record else None)

    def reverse(
        self,
        tape: Tape,
        output_gradients: Sequence[Array | None],
        weights: Sequence[Array],
        masks: Sequence[Array] = (),
    ) -> ReverseResult:
        """Walks the steps backwards: gradients of sum_i <output_gradient_i, output_i> by the backward functions."""
        slots: list[Any] = [None] * self.num_slots
        for slot, value in zip(self.outputs, output_gradients, strict=True):
            _accumulate(slots, slot, value)
        weight_gradients: list[Any] = [None] * len(self.weight_names)
        for step, saved in zip(reversed(self.steps), reversed(tape.saved), strict=True):
            arriving = tuple([slots[i] for i in step.outputs])
            if all(gradient is None for gradient in arriving):
                continue
            if step.backward is None:
                raise UnavailableError(f"node {step.name} ({step.layer.kind}) has no backward op")
            call = step.call
            if step.masks:
                call = call._replace(masks=tuple([masks[i] for i in step.masks]))
            result = step.backward(step.layer, saved, arriving, tuple([weights[i] for i in step.weights]), call)
            for slot in step.outputs:
                slots[slot] = None
            for slot, value in zip(step.inputs, result.inputs, strict=True):
                _accumulate(slots, slot, value)
            for position, value in zip(step.weights, result.weights, strict=True):
                _accumulate(weight_gradients, position, value)
        return ReverseResult(weight_gradients, tuple([slots[i] for i in self.inputs]))


def _accumulate(values: list[Any], position: int, value: Any) -> None:
    if value is not None:
        values[position] = value if values[position] is None else values[position] + value


@dataclass
class _Binder:
    """The state of one binding: where each value lies in each layout."""

    graph: Graph
    operations: Operations
    training: bool
    channels_last: bool
    steps: list[Step] = field(default_factory=list)
    slots: dict[tuple[str, bool], int] = field(default_factory=dict)  # (value, is channels-last) -> slot
    layouts: dict[str, bool] = field(default_factory=dict)  # the layout in which a value is produced
    shared_layouts: dict[str, bool] = field(default_factory=dict)  # the layout of the first node that uses weights

    def bind(self) -> Program:
        shapes = self.graph.shapes()
        for item in self.graph.inputs:
            self._new(item.name, False)
        masks = {spec.name: i for i, spec in enumerate(self.graph.named_masks())} if self.training else {}
        weights = {spec.name: i for i, spec in enumerate(self.graph.named_weights())}
        state = {spec.name: i for i, spec in enumerate(self.graph.named_state())}
        for node in self.graph.nodes:
            inside = self.graph.input_shapes(node)
            last = self._layout_for(node)
            operation = self.operations[node.layer.kind]
            inputs = tuple(self._in_layout(value, last, len(shapes[value])) for value in node.inputs)
            values = value_names(node.name, len(node.layer.output_shapes(inside)))
            outputs = tuple(self._new(value, last and len(shapes[value]) > 2) for value in values)
            self.steps.append(
                Step(
                    name=node.name,
                    layer=node.layer,
                    forward=operation.forward,
                    backward=operation.backward,
                    call=Call(self.training, last),
                    inputs=inputs,
                    outputs=outputs,
                    weights=tuple(weights[f"{node.owner}.{w.name}"] for w in node.layer.weights(inside)),
                    state=tuple(state[f"{node.owner}.{s.name}"] for s in node.layer.state(inside)),
                    masks=tuple(masks[f"{node.name}.{m.name}"] for m in node.layer.masks(inside))
                    if self.training
                    else (),
                    free=(),
                )
            )
        outputs = tuple(self._in_layout(value, False, len(shapes[value])) for _, value in self.graph.outputs)
        return Program(
            graph=self.graph,
            steps=self._with_last_uses(outputs),
            num_slots=len(self.slots),
            inputs=tuple(self.slots[item.name, False] for item in self.graph.inputs),
            outputs=outputs,
            weight_names=tuple(weights),
            state_names=tuple(state),
            mask_names=tuple(masks),
            channels_last=self.channels_last,
            training=self.training,
        )

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
            Step(name, layer, operation.forward, operation.backward, call, (source,), (target,), (), (), (), ())
        )
        return target

    def _with_last_uses(self, outputs: tuple[int, ...]) -> tuple[Step, ...]:
        seen = set(outputs)
        result: list[Step] = []
        for step in reversed(self.steps):
            touched = dict.fromkeys((*step.inputs, *step.outputs))
            free = tuple(slot for slot in touched if slot not in seen)
            seen.update(touched)
            result.append(replace(step, free=free))
        return tuple(reversed(result))
