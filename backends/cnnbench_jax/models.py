"""Reads a user's JAX function with its parameters as a graph; and runs it as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.interchange.model_readers import GivenInputs, ReadModel
from cnnbench_jax.reading.named import channels_come_last, is_moved, named
from cnnbench_jax.reading.traced import TracedFunction, trace


@dataclass(frozen=True)
class ReadFunction(ReadModel):
    """A JAX function as a network.

    Args:
        last: Whether the function's images have their channels last.
        moved: Whether each output is an image, whose channels move likewise.
    """

    last: bool = False
    moved: tuple[bool, ...] = ()


def read(model: tuple[Any, Any], inputs: GivenInputs) -> ReadModel:
    """The graph of a function.

    Args:
        model: (apply, parameters), called as ``apply(parameters, batch)``.
        inputs: The shapes of its inputs without the batch, in the function's own layout.

    Raises:
        SpecError: No shape is known; JAX cannot trace the function; parts of it are not read.
    """
    function, parameters = model
    shapes = list(inputs.require("a JAX function"))
    integers = inputs.integers or (False,) * len(shapes)
    with jax.enable_x64(True):
        traced = _traced(function, parameters, shapes, integers, inputs)
        last = channels_come_last(traced)
        found = named(traced, getattr(function, "__name__", "function"), integers)
    moved = tuple(is_moved(len(item.shape), traced, last=last) for item in traced.outputs.values())
    return ReadFunction(found.graph, found.arrays, found.notes, last, moved)


def _traced(
    function: Any, parameters: Any, shapes: list[Any], integers: Sequence[bool], inputs: GivenInputs
) -> TracedFunction:
    """In the function's own layout, which an image that is asked for with channels first does not tell."""
    image = inputs.image
    if not image or len(image) < 2:
        return trace(function, parameters, shapes, integers)
    behind = (*image[1:], image[0])
    try:
        found = trace(function, parameters, [behind, *shapes[1:]], integers)
        if channels_come_last(found):
            return found
    except SpecError:  # then its channels come first, or the second attempt says what is wrong
        pass
    return trace(function, parameters, [image, *shapes[1:]], integers)


def run(model: tuple[Any, Any], batch: Mapping[str, np.ndarray], mode: str, read_model: ReadModel) -> dict[str, Any]:
    """What the user's function gives in float64.

    Args:
        model: (apply, parameters).
        batch: Its inputs by the graph's names, with channels first.
        mode: ``eager``, or ``jit``.
        read_model: What was read of it.
    """
    function, parameters = model
    read_function = read_model if isinstance(read_model, ReadFunction) else ReadFunction(read_model.graph, {})
    with jax.enable_x64(True):
        wide = jax.tree_util.tree_map(_wide, parameters)
        operands = [np.asarray(batch[item.name]) for item in read_model.graph.inputs]
        operands = [np.moveaxis(a, 1, -1) if read_function.last and a.ndim > 2 else a for a in operands]
        called = jax.jit(function) if mode == "jit" else function
        made = [np.asarray(item) for item in jax.tree_util.tree_leaves(called(wide, *map(_wide, operands)))]
    names = [name for name, _ in read_model.graph.outputs]
    pairs = zip(made, read_function.moved or (False,) * len(made), strict=True)
    return dict(zip(names, [np.moveaxis(a, -1, 1) if moves else a for a, moves in pairs], strict=True))


def _wide(leaf: Any) -> Any:
    array = jax.numpy.asarray(leaf)
    return array.astype("float64") if jax.numpy.issubdtype(array.dtype, jax.numpy.floating) else array
