"""Reads an ONNX model: external data kept inside its folder, functions inlined, old operator sets upgraded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.errors import CnnbenchError, SpecError, UnavailableError

TARGET_OPSET = 21
DEFAULT_DOMAIN = ("", "ai.onnx")


@dataclass(frozen=True)
class OnnxFile:
    """A model in the form in which it is imported.

    Args:
        model: The ``onnx.ModelProto``, at opset 21 or newer.
        opset: The version of the default operator set that ``model`` is at.
        written_at: The version at which the file was written.
        where: What messages call it.
    """

    model: Any
    opset: int
    written_at: int
    where: str


def require_onnx() -> Any:
    """The ``onnx`` package. Raises UnavailableError that says how to install it."""
    try:
        import onnx
    except ImportError:
        raise UnavailableError("onnx is not installed", remedy="pip install 'cnnbench[onnx]'") from None
    return onnx


def read_model(path: Path) -> OnnxFile:
    """The model of a file, upgraded to opset 21 where it is older.

    Raises:
        SpecError: No such file, no ONNX model, external data outside the model's folder, or no upgrade.
        UnavailableError: The ``onnx`` package is missing.
    """
    onnx = require_onnx()
    where = str(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError:
        raise SpecError("the model's file does not exist", where=where) from None
    except (OSError, ValueError) as error:
        raise SpecError("the file cannot be read", where=where, received=error) from None
    except Exception as error:  # protobuf's DecodeError, whose module depends on its version
        raise SpecError("the file is not an ONNX model", where=where, received=error) from None
    if not model.graph.node:
        raise SpecError("the file is not an ONNX model, or its graph is empty", where=where)
    _load_external_data(model, path)
    return prepare(model, where)


def prepare(model: Any, where: str = "ONNX model") -> OnnxFile:
    """A model that is in memory, with its own functions inlined, upgraded to opset 21 where it is older."""
    require_onnx()
    versions = [item.version for item in model.opset_import if item.domain in DEFAULT_DOMAIN]
    written_at = max(versions, default=TARGET_OPSET)
    if model.functions:
        from onnx import inliner

        model = _converted(lambda: inliner.inline_local_functions(model), "the functions cannot be inlined", where)
    if versions and written_at < TARGET_OPSET:
        from onnx import version_converter

        message = f"the model cannot be upgraded from opset {written_at} to {TARGET_OPSET}"
        model = _converted(lambda: version_converter.convert_version(model, TARGET_OPSET), message, where)
    return OnnxFile(model, max(written_at, TARGET_OPSET), written_at, where)


def _converted(convert: Any, message: str, where: str) -> Any:
    """What a converter of the ``onnx`` package gives; its many kinds of errors become one of ours."""
    try:
        return convert()
    except CnnbenchError:
        raise
    except Exception as error:
        logging.getLogger(__name__).debug(message, exc_info=True)
        raise SpecError(message, where=where, received=str(error).strip().splitlines()[:1] or error) from None


def _load_external_data(model: Any, path: Path) -> None:
    """Loads tensors that lie in files beside the model; raises SpecError for any that lies elsewhere."""
    from onnx import external_data_helper

    folder = path.resolve().parent
    found = False
    for tensor in _tensors(model):
        if not external_data_helper.uses_external_data(tensor):
            continue
        found = True
        location = next((item.value for item in tensor.external_data if item.key == "location"), "")
        target = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            raise SpecError(
                f"external data of {tensor.name!r} lies outside the model's folder",
                where=str(path),
                received=location,
                expected=f"a relative path within {folder}",
            )
        if not target.is_file():
            raise SpecError(f"external data of {tensor.name!r} does not exist", where=str(path), received=location)
    if found:
        message = "external data cannot be read"
        _converted(lambda: external_data_helper.load_external_data_for_model(model, str(folder)), message, str(path))


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor of a model: initialisers and attributes, subgraphs and functions included."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)
