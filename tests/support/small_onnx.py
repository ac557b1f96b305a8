"""Small ONNX models, and what the reference makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.interchange.onnx_import import OnnxNetwork, import_file
from cnnbench.spec.weights import split_state

Array = NDArray[Any]
ELEMENTS = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "u": TensorProto.UINT8, "b": TensorProto.BOOL}


def op(name: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    """A node. Args: inputs, outputs: names, parted by spaces; '-' for one that is left out."""
    names = [["" if item == "-" else item for item in text.split()] for text in (inputs, outputs)]
    return helper.make_node(name, *names, **attributes)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    kinds: Mapping[str, str] | None = None,
) -> Any:
    """A model.

    Args:
        nodes: In order.
        inputs: Shapes by name; a text for an open size.
        constants: Initialisers by name; arrays, or lists of numbers.
        opset: Of ONNX's own domain.
        outputs: Names, all of floats unless ``kinds`` says otherwise.
        kinds: Of inputs and outputs that hold no floats, as keys of ``ELEMENTS``.
    """
    kinds = kinds or {}

    def element(name: str) -> int:
        return ELEMENTS[kinds.get(name, "f")]

    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(name, element(name), list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element(name), None) for name in outputs],
        [numpy_helper.from_array(_array(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _array(value: Any) -> Array:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def imported(tmp_path: Path, proto: Any, image: tuple[int, ...] = ()) -> OnnxNetwork:
    """A model, written to a file and read."""
    path = tmp_path / "small.onnx"
    onnx.save(proto, path)
    return import_file(path, image)


def results(network: OnnxNetwork, **inputs: Array) -> list[Array]:
    """The outputs for inputs by the model's names, computed by the reference in float64."""
    if network.graph is None:
        return network.results({})
    program = load_backend("numpy").compile_forward(network.graph, ProgramOptions("reference", precision("float64")))
    program.load(*split_state(network.graph, network.arrays))
    batch = {ours: inputs[theirs] for ours, theirs in network.inputs.items()}
    return network.results(program.download(program.run(program.upload(batch))).outputs)


def computed(tmp_path: Path, proto: Any, **inputs: Array) -> Array:
    """The first output of a model that is read from a file."""
    return results(imported(tmp_path, proto), **inputs)[0]


def numbers(*shape: int, seed: int = 0) -> Array:
    """Normal numbers in single precision."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
