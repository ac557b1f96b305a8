"""Reads a user's JAX function with its parameters as a graph; and runs it as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnnbench.errors import DataError, SpecError
from cnnbench.execution.contract import Device
from cnnbench.execution.precision import precision
from cnnbench.spec.interchange.model_readers import GivenInputs, ReadModel
from cnnbench_jax.arrays import JaxPlacement, host
from cnnbench_jax.backend import DTYPES
from cnnbench_jax.gradients import gradients, training_pass, weights, with_weights
from cnnbench_jax.reading.named import channels_come_last, is_moved, named
from cnnbench_jax.reading.traced import TracedFunction, trace

__all__ = [
    "FunctionRunner",
    "digest",
    "gradients",
    "load",
    "read",
    "runner",
    "training_pass",
    "weights",
    "with_weights",
]


def load(path: Path) -> Any:
    """Raises DataError: a function is in no file."""
    raise DataError("JAX has no files of models", where=str(path))


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
    return replace(found, inputs_last=(last,) * len(found.graph.inputs), outputs_last=moved)


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


def digest(model: tuple[Any, Any]) -> str:
    """A digest of the parameters as the tree holds them."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(model[1]):
        array = np.ascontiguousarray(np.asarray(leaf))
        found.update(f"{jax.tree_util.keystr(path)}\0{array.dtype}\0{array.shape}\0".encode())
        found.update(array.tobytes())
    return found.hexdigest()


class FunctionRunner:
    """A function as JAX runs it: ``jit``, or ``eager`` one operation after the other.

    Args:
        model: (apply, parameters).
        mode: ``jit`` or ``eager``.
        policy: The name of the precision policy.
        device: ``cpu``, ``cuda``, ``cuda:1``.
    """

    def __init__(self, model: tuple[Any, Any], mode: str, policy: str, device: str) -> None:
        function, parameters = model
        kind, number = Device.read(device)
        place = JaxPlacement(jax.devices(kind)[number], DTYPES[precision(policy).storage])
        self._placement = place
        with place.wide_types():
            self._parameters = jax.tree_util.tree_map(self._placed, parameters)
        self._call = function if mode == "eager" else jax.jit(function)

    def _placed(self, leaf: Any) -> Any:
        array = jax.numpy.asarray(leaf)
        floats = jax.numpy.issubdtype(array.dtype, jax.numpy.floating)
        return jax.device_put(array.astype(self._placement.dtype) if floats else array, self._placement.device)

    def place(self, array: np.ndarray) -> Any:
        """As ``ModelRunner.place``."""
        return self._placement.array(array)

    def run(self, operands: Sequence[Any]) -> Any:
        """As ``ModelRunner.run``."""
        with self._placement.wide_types():
            return self._call(self._parameters, *operands)

    def read(self, results: Any) -> list[np.ndarray]:
        """As ``ModelRunner.read``."""
        return [host(item) for item in jax.tree_util.tree_leaves(results)]


runner = FunctionRunner
