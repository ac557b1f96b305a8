"""What a fault is, and the ways in which one is put into a backend's op without knowing the framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.operations import Call, Gradients, Operation, Operations, OpResult, WeightLayout
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.programs import Compilers
from cnnbench.numerics.faults.engine.switching import When
from cnnbench.spec.layers import Layer
from cnnbench.spec.layers.loss import StopGradient
from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import Optimizer

Arrays = tuple[Any, ...]
OperationChange = Callable[[Operation, Operations], Operation]


@dataclass(frozen=True)
class Fault:
    """A defect.

    Args:
        name: ``<kind>.<defect>``.
        kind: The layer kind whose op is changed; ``loss``, ``optimizer``, ``step`` or ``sharing`` for others.
            For a composite's part it is the part's kind, and ``node`` is ``suspect.<part>``; a composite kind is
            examined as one node.
        description: What goes wrong, and where it happened.
        operation: The changed op, from the right one and the backend's whole table.
        loss, optimizer: The changed loss or update rule.
        programs: What the backend compiles with where whole programs are changed, from the right backend;
            ``changed_programs`` makes it.
        when: The moments of a program's life at which it is wrong; always where None.
        case: A configuration in which it exceeds ten budgets, from a program's options and a seed.
        check: The check that finds it there. node: the node, term or input where it must be located; an input is named
            where it is what is uploaded, kept or given back that is wrong.
        also: Another node where it is located as rightly, by what operands of a framework let be seen.
    """

    name: str
    kind: str
    description: str
    case: Callable[[ProgramOptions, int], Case]
    check: str = "local"
    node: str = "suspect"
    operation: OperationChange | None = None
    loss: Callable[[Loss], Loss] | None = None
    optimizer: Callable[[Optimizer], Optimizer] | None = None
    programs: Callable[[Backend], Compilers] | None = None
    when: When | None = None
    also: str | None = None


@dataclass(frozen=True)
class LayerChange:
    """The change of an op that reads another layer; where a composite has no op, the layer itself is exchanged."""

    change: Callable[[Any], Layer]

    def __call__(self, right: Operation, table: Operations) -> Operation:
        """The changed op."""

        def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            return right.forward(self.change(layer), inputs, weights, state, call)

        if right.backward is None:
            return Operation(forward, None, right.weight_layout)
        backward = right.backward

        def changed(layer: Any, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
            return backward(self.change(layer), saved, gradients, weights, call)

        return Operation(forward, changed, right.weight_layout)


def other_layer(change: Callable[[Any], Layer]) -> LayerChange:
    """The op reads another layer than the one that was asked for.

    The only change that also serves a composite kind which a backend lowers: its parts are then those of the other
    layer.
    """
    return LayerChange(change)


def other_operands(
    change: Callable[[Any, Arrays, Arrays, Arrays, Call], tuple[Arrays, Arrays, Arrays, Call]],
) -> OperationChange:
    """The op gets other inputs, weights, state or another call."""

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            return right.forward(layer, *change(layer, inputs, weights, state, call))

        return Operation(forward, right.backward, right.weight_layout)

    return build


def other_outputs(change: Callable[[Any, Arrays, Arrays, Call], Arrays]) -> OperationChange:
    """The op's outputs are changed after it: (layer, inputs, outputs, call) -> outputs."""

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            result = right.forward(layer, inputs, weights, state, call)
            return result._replace(outputs=change(layer, inputs, result.outputs, call))

        return Operation(forward, right.backward, right.weight_layout)

    return build


def other_weights(change: Callable[[Any, str, Any], Any]) -> OperationChange:
    """The weights are changed on the host, before they take the backend's layout: (layer, name, array) -> array."""

    def build(right: Operation, table: Operations) -> Operation:
        layout = right.weight_layout

        def to_native(layer: Any, name: str, array: Any, channels_last: bool) -> Any:
            return layout.to_native(layer, name, change(layer, name, array), channels_last)

        return Operation(right.forward, right.backward, WeightLayout(to_native, layout.to_canonical))

    return build


def other_array(name: str, change: Callable[[Any], Any]) -> OperationChange:
    """One weight is changed on the host.

    Args:
        name: The weight's, within its node.
        change: array -> array.
    """
    return other_weights(lambda layer, known, array: change(array) if known == name else array)


def dropped(layer: Layer, case: Callable[[ProgramOptions, int], Case], weights: Mapping[str, str]) -> tuple[Fault, ...]:
    """A fault for each weight of a layer that a backend may ignore, as if it stood at its start: a scale 1, a shift 0.

    Args:
        layer: The suspect.
        case: The network that it stands in.
        weights: By the weight's name, what it is called: ``scale`` is taken as 1, anything else as 0.
    """
    return tuple(
        Fault(
            f"{layer.kind}.{role}_ignored",
            layer.kind,
            f"the {role} taken as {int(role == 'scale')}",
            case,
            operation=other_array(name, ones if role == "scale" else zeros),
        )
        for name, role in weights.items()
    )


def zeros(array: Any) -> Any:
    """Zeros in an array's place."""
    return array * 0


def ones(array: Any) -> Any:
    """Ones in an array's place."""
    return array * 0 + 1


def other_kind(change: Callable[[Any], Layer]) -> OperationChange:
    """The op of another kind in its place, on the same weights."""

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Arrays, given: Arrays, state: Arrays, call: Call) -> OpResult:
            other = change(layer)
            result = table[other.kind].forward(other, inputs, given, (), call)
            return OpResult(result.outputs)

        return Operation(forward, right.backward, right.weight_layout)

    return build


def kernel_only(change: Callable[[Any, Any], Any]) -> OperationChange:
    """The kernel alone is changed on the host: (layer, array) -> array."""
    return other_weights(lambda layer, name, array: change(layer, array) if name == "weight" else array)


def reversed_field(name: str) -> LayerChange:
    """The op reads a layer whose field, a value for each axis, is in reverse order."""
    return other_layer(lambda layer: replace(layer, **{name: tuple(reversed(getattr(layer, name)))}))


swapped_padding = other_layer(lambda layer: replace(layer, padding=tuple((e, b) for b, e in layer.padding)))
"""Padding before and after each axis exchanged."""


def other_gradient(addend: Callable[[Any, Any, Any, Call], Any], dual: Callable[..., Any]) -> OperationChange:
    """The op's value is right, and its gradient with respect to the first input is not.

    An autodiff takes the gradient of y + e - stop_gradient(e); NumPy adds e's gradient itself.

    Args:
        addend: (layer, input, output, call) -> e, of the output's shape.
        dual: (layer, input, output, cotangent, call) -> what e's gradient adds.
    """

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            result = right.forward(layer, inputs, weights, state, call)
            y = result.outputs[0]
            if right.backward is not None:
                return result._replace(saved=(result.saved, inputs[0], y))
            e = addend(layer, inputs[0], y, call)
            still = table["stop_gradient"].forward(StopGradient(), (e,), (), (), call).outputs[0]
            return result._replace(outputs=(y + (e - still), *result.outputs[1:]))

        if right.backward is None:
            return Operation(forward, None, right.weight_layout)
        own = right.backward

        def backward(layer: Any, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
            kept, x, y = saved
            found = own(layer, kept, gradients, weights, call)
            return found._replace(inputs=(found.inputs[0] + dual(layer, x, y, gradients[0], call), *found.inputs[1:]))

        return Operation(forward, backward, right.weight_layout)

    return build


def rounded(value: Any, bits: int) -> Any:
    """A float32 value with ``bits`` bits of significand, by Veltkamp's splitting, in any framework's arithmetic."""
    scaled = value * (2.0 ** (24 - bits) + 1.0)
    return scaled - (scaled - value)


def library_of(value: Any) -> Any:
    """The library that a value belongs to, which defines ``where`` and ``asarray`` or their like."""
    package = type(value).__module__.partition(".")[0]
    return import_module({"jax": "jax.numpy", "jaxlib": "jax.numpy"}.get(package, package))


def choose(condition: Any, value: Any, other: float) -> Any:
    """``value`` where the condition holds, elsewhere ``other``, by the library that the value belongs to.

    Args:
        condition: Of the value's shape.
        value: Of any framework.
        other: What stands in its place.
    """
    library = library_of(value)
    return library.where(condition, value, library.zeros_like(value) + other)
