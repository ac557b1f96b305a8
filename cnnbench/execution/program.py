"""The only graph walk: values flow through integer slots, and nothing is looked up by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cnnbench.errors import UnavailableError
from cnnbench.execution.operations import Array, Backward, Call, Forward
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Layer


@dataclass(frozen=True, slots=True)
class BoundStep:
    """One bound call.

    Args:
        name: The node's name, or ``<value>@<layout>`` for an inserted layout change.
        layer, forward, backward, call: What is computed.
        inputs, outputs: Slots of values. masks: positions among the program's masks.
        weights, state: Positions among the program's weights and state.
        free: Slots whose last use this step is.
        members: The names of the nodes that the step computes, its own first; () for its own alone.
        algorithm: Which one runs, where the backend has several for the kind.
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
    members: tuple[str, ...] = ()
    algorithm: str = ""


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
    """A graph bound to a backend's ops; ``bind_program`` makes one.

    Args:
        graph: The lowered graph.
        steps: The calls in order.
        inputs: The slot of each graph input, in its order.
        outputs: The slot of each output (canonical layout), in the order of the graph's outputs.
        weight_names, state_names, mask_names: Full names in the order in which ``forward`` takes the arrays.
        channels_last: Whether images are held channels-last inside.
    """

    graph: Graph
    steps: tuple[BoundStep, ...]
    num_slots: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    weight_names: tuple[str, ...]
    state_names: tuple[str, ...]
    mask_names: tuple[str, ...]
    channels_last: bool
    training: bool

    def forward(
        self,
        inputs: Sequence[Array],
        weights: Sequence[Array],
        state: Sequence[Array],
        masks: Sequence[Array] = (),
        *,
        record: bool = False,
    ) -> ForwardResult:
        """Runs every step once.

        Args:
            inputs: Values of the framework, in the order of the graph's inputs.
            weights: In the order of ``weight_names``, in native layout.
            state: In the order of ``state_names``.
            masks: In the order of ``mask_names``; () where dropout does nothing.
            record: Whether the ops' ``saved`` values are kept for ``reverse``.
        """
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

    def watched(self, watch: Callable[[int], None]) -> Program:
        """The same program, which calls ``watch`` with the number of each step as that step's op has returned."""

        def with_watch(number: int, step: BoundStep) -> BoundStep:
            def forward(*operands: Any) -> Any:
                result = step.forward(*operands)
                watch(number)
                return result

            return replace(step, forward=forward)

        return replace(self, steps=tuple(with_watch(i, step) for i, step in enumerate(self.steps)))

    def reverse(
        self,
        tape: Tape,
        cotangents: Sequence[Array | None],
        weights: Sequence[Array],
        masks: Sequence[Array] = (),
    ) -> ReverseResult:
        """Walks the steps backwards: the gradients of sum_i <cotangent_i, output_i> by the backward functions.

        Args:
            tape: Of a recorded forward pass.
            cotangents: One for each output; None for an output that does not take part.
            weights: Those of the forward pass.
            masks: Those of the forward pass.

        Raises:
            UnavailableError: An op has no backward function.
        """
        slots: list[Any] = [None] * self.num_slots
        for slot, value in zip(self.outputs, cotangents, strict=True):
            _accumulate(slots, slot, value)
        weight_gradients: list[Any] = [None] * len(self.weight_names)
        for step, saved in zip(reversed(self.steps), reversed(tape.saved), strict=True):
            of_outputs = tuple([slots[i] for i in step.outputs])
            if all(cotangent is None for cotangent in of_outputs):
                continue
            if step.backward is None:
                lacking = "backward op" if step.layer.differentiable else "gradient"
                raise UnavailableError(f"node {step.name} ({step.layer.kind}) has no {lacking}")
            call = step.call
            if step.masks:
                call = call._replace(masks=tuple([masks[i] for i in step.masks]))
            result = step.backward(step.layer, saved, of_outputs, tuple([weights[i] for i in step.weights]), call)
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
