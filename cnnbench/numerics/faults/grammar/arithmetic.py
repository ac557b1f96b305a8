"""Changes of single values in any framework's arithmetic: masks of elements, fewer bits, gradients that stop."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.operations import Call, Gradients, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import OperationChange, library_of

ValueChange = Callable[[Any, Call], Any]
"""(value, call) -> the changed value."""
SIGNIFICANDS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


def dtype_name(value: Any) -> str:
    """``float32``, as every framework calls it."""
    return str(getattr(value.dtype, "name", value.dtype)).rpartition(".")[2]


def is_float(value: Any) -> bool:
    """Whether a value holds floats."""
    return dtype_name(value) in SIGNIFICANDS


def as_value(array: NDArray[Any], like: Any) -> Any:
    """A host array as a value of the library, dtype and device of another."""
    library = library_of(like)
    match library.__name__:
        case "torch":
            return library.as_tensor(np.ascontiguousarray(array), dtype=like.dtype, device=like.device)
        case "tensorflow":
            return library.constant(array, dtype=like.dtype)
        case _:
            return library.asarray(array, like.dtype)


def stopped(value: Any) -> Any:
    """The value without its gradient."""
    library = library_of(value)
    match library.__name__:
        case "torch":
            return value.detach()
        case "tensorflow":
            return library.stop_gradient(value)
        case "jax.numpy":
            return import_module("jax.lax").stop_gradient(value)
        case _:
            return value


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape, with 1 for an axis that is not known when a program is traced."""
    return tuple(1 if size is None else int(size) for size in value.shape)


def element_mask(value: Any, position: float, *, every_image: bool = True) -> Any:
    """1 at one element of each image (or of the last one), 0 elsewhere.

    Args:
        value: Of any shape.
        position: Where the element is, as a share of the way through an image.
        every_image: Whether each image has it; else the last one alone.
    """
    shape = shape_of(value)
    if len(shape) < 2 or (not every_image and shape[0] < 2):
        return _spot(value, shape, position)
    if every_image:
        return _spot(value, (1, *shape[1:]), position)
    mask = np.zeros(shape)
    own = mask[-1].reshape(-1)
    own[min(int(position * own.size), own.size - 1)] = 1
    return as_value(mask, value)


def _spot(value: Any, shape: tuple[int, ...], position: float) -> Any:
    mask = np.zeros(shape)
    flat = mask.reshape(-1)
    if flat.size:
        flat[min(int(position * flat.size), flat.size - 1)] = 1
    return as_value(mask, value)


def slice_mask(value: Any, axis: int, index: int) -> Any:
    """1 in one slice of an axis, 0 elsewhere.

    Args:
        value: Of any shape.
        axis: Of the slices.
        index: Of the slice, counted round the axis.
    """
    shape = shape_of(value)
    size = shape[axis]
    row = np.zeros(size)
    if size:
        row[index % size] = 1
    return as_value(row.reshape([size if i == axis % len(shape) else 1 for i in range(len(shape))]), value)


def fewer_bits(value: Any, bits: int) -> Any:
    """The value with ``bits`` bits of significand by Veltkamp's splitting; as it is where it has no more."""
    own = SIGNIFICANDS[dtype_name(value)]
    if bits >= own:
        return value
    scaled = value * (2.0 ** (own - bits) + 1.0)
    return scaled - (scaled - value)


def of_outputs(change: ValueChange) -> OperationChange:
    """Every output of the op is changed after it."""

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Any, weights: Any, state: Any, call: Call) -> OpResult:
            result = right.forward(layer, inputs, weights, state, call)
            return result._replace(outputs=tuple(change(value, call) for value in result.outputs))

        return Operation(forward, right.backward, right.weight_layout)

    return build


def of_state(change: Callable[[Any, Any], Any]) -> OperationChange:
    """The running statistics after a training pass are changed: (before, after) -> after."""

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Any, weights: Any, state: Any, call: Call) -> OpResult:
            result = right.forward(layer, inputs, weights, state, call)
            if not call.training or not result.state:
                return result
            return result._replace(state=tuple(change(a, b) for a, b in zip(state, result.state, strict=True)))

        return Operation(forward, right.backward, right.weight_layout)

    return build


def of_operand(role: str, position: int, change: ValueChange) -> OperationChange:
    """The op reads another input, weight or running statistic.

    Args:
        role: ``input``, ``weight`` or ``state``.
        position: Of the operand among those.
        change: What is read in its place.
    """

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Any, weights: Any, state: Any, call: Call) -> OpResult:
            read = {"input": tuple(inputs), "weight": tuple(weights), "state": tuple(state)}
            if position < len(read[role]):
                items = list(read[role])
                items[position] = change(items[position], call)
                read[role] = tuple(items)
            return right.forward(layer, read["input"], read["weight"], read["state"], call)

        return Operation(forward, right.backward, right.weight_layout)

    return build


def of_exchange(role: str, first: int, second: int) -> OperationChange:
    """The op reads two of its inputs, weights or running statistics in each other's place.

    Args:
        role: ``input``, ``weight`` or ``state``.
        first: Position of one among those.
        second: Position of the other.
    """

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Any, weights: Any, state: Any, call: Call) -> OpResult:
            read = {"input": tuple(inputs), "weight": tuple(weights), "state": tuple(state)}
            items = list(read[role])
            if max(first, second) < len(items):
                items[first], items[second] = items[second], items[first]
            read[role] = tuple(items)
            return right.forward(layer, read["input"], read["weight"], read["state"], call)

        return Operation(forward, right.backward, right.weight_layout)

    return build


def of_gradient(role: str, position: int, factor: Callable[[Any], Any]) -> OperationChange:
    """The gradient to an input or weight is multiplied by a factor; values stay.

    Args:
        role: ``input`` or ``weight``.
        position: Of the operand among those.
        factor: A value of the operand's shape, or one that broadcasts to it.
    """

    def with_own_backward(right: Operation) -> Operation:
        def backward(layer: Any, saved: Any, cotangents: Any, weights: Any, call: Call) -> Gradients:
            found = right.backward(layer, saved, cotangents, weights, call)  # type: ignore[misc]
            items = list(found.inputs if role == "input" else found.weights)
            if position < len(items) and items[position] is not None:
                items[position] = items[position] * factor(items[position])
            return found._replace(**{"inputs" if role == "input" else "weights": tuple(items)})

        return Operation(right.forward, backward, right.weight_layout)

    def build(right: Operation, table: Operations) -> Operation:
        if right.backward is not None:
            return with_own_backward(right)

        def share(value: Any, call: Call) -> Any:
            if not call.training or not is_float(value):
                return value
            fixed = stopped(value)
            return fixed + factor(value) * (value - fixed)

        return of_operand(role, position, share)(right, table)

    return build


def in_training(change: OperationChange) -> OperationChange:
    """The op is changed in training passes alone."""

    def build(right: Operation, table: Operations) -> Operation:
        wrong = change(right, table)

        def forward(layer: Any, inputs: Any, weights: Any, state: Any, call: Call) -> OpResult:
            chosen = wrong if call.training else right
            return chosen.forward(layer, inputs, weights, state, call)

        return Operation(forward, wrong.backward, wrong.weight_layout)

    return build
