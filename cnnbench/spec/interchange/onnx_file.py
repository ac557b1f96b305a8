"""Reads an ONNX model: external data kept inside its folder, functions inlined. Operator sets stay as they are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnbench.errors import CnnbenchError, SpecError, UnavailableError
from cnnbench.spec.interchange.onnx_versions import DEFAULT_DOMAIN, REVIEWED
from cnnbench.spec.interchange.pointers import refuse_pointer

_OPSET = "cnnbench.opset"  # the key under which a node of a function says its operator set


@dataclass(frozen=True)
class OnnxFile:
    """A model as it was written.

    Args:
        model: The ``onnx.ModelProto``.
        opset: The version of the default operator set.
        where: What messages call it.
        opsets: The versions of the other domains' operator sets.
    """

    model: Any
    opset: int
    where: str
    opsets: Mapping[str, int] = field(default_factory=dict)


def require_onnx() -> Any:
    """The ``onnx`` package. Raises UnavailableError that says how to install it."""
    try:
        import onnx
    except ImportError:
        raise UnavailableError("onnx is not installed", remedy="pip install 'cnnbench[onnx]'") from None
    return onnx


def read_model(path: Path) -> OnnxFile:
    """The model of a file.

    Raises:
        DataError: A pointer of Git LFS instead of the file.
        SpecError: No such file, no ONNX model, external data outside the model's folder, or a newer operator set.
        UnavailableError: The ``onnx`` package is missing.
    """
    onnx = require_onnx()
    where = str(path)
    refuse_pointer(path)
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
    _refuse_two_of_one_name(model.graph, where)
    _load_external_data(model, path)
    return prepare(model, where)


def prepare(model: Any, where: str = "ONNX model") -> OnnxFile:
    """A model that is in memory, with its own functions inlined. Raises SpecError for a newer operator set."""
    require_onnx()
    if model.functions:
        from onnx import inliner

        _refuse_ambiguous_functions(model, where)
        marked = _with_opsets(model)
        model = _converted(lambda: inliner.inline_local_functions(marked), "the functions cannot be inlined", where)
    versions = {item.domain: item.version for item in model.opset_import}
    stated = [version for domain, version in versions.items() if domain in DEFAULT_DOMAIN]
    opset = max(stated, default=1 if 0 < model.ir_version < 3 else REVIEWED)  # before IR 3 there was one operator set
    if opset > REVIEWED:
        raise SpecError(
            "the model's operator set is newer than those that are read",
            where=where,
            received=f"opset {opset}",
            expected=f"opset {REVIEWED} or older",
            remedy="export the model at an older opset",
        )
    return OnnxFile(model, opset, where, versions)


def _refuse_two_of_one_name(graph: Any, where: str) -> None:
    """Raises SpecError where a name stands for two things, of which a reader can only guess one."""
    inputs = [item.name for item in graph.input]
    _refuse_name(inputs, "inputs", where)
    stored: dict[str, Any] = {}
    for tensor in (*graph.initializer, *graph.sparse_initializer):
        name = tensor.name if hasattr(tensor, "name") else tensor.values.name
        first = stored.setdefault(name, tensor)
        if first is not tensor and first != tensor:
            raise SpecError("the model is damaged", where=where, received=f"two unequal initialisers {name!r}")
    outputs = [name for node in graph.node for name in node.output if name]
    _refuse_name([*{*inputs, *stored}, *outputs], "values", where)
    for node in graph.node:
        _refuse_name([item.name for item in node.attribute], f"attributes of node {node.name!r}", where)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _refuse_two_of_one_name(inner, where)


def _refuse_name(names: Sequence[str], what: str, where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SpecError("the model is damaged", where=where, received=f"two {what} of the name {twice[0]!r}")


def _refuse_ambiguous_functions(model: Any, where: str) -> None:
    """Raises SpecError for functions of which the standard does not say what they stand for (``ModelProto.functions``).

    Of one that has the name of a standard operator, each runtime decides by itself which of the two is meant.
    """
    from onnx import defs

    keys = [(item.domain if item.domain != "ai.onnx" else "", item.name, item.overload) for item in model.functions]
    _refuse_name([".".join(key) for key in keys], "functions", where)
    for domain, name, _ in keys:
        if defs.has(name, domain):
            raise SpecError(
                "a function of the model has the name of a standard operator; ONNX leaves open which of them is meant",
                where=where,
                received=f"{domain or 'ai.onnx'}.{name}",
                expected="functions of a domain, or of names, of their own",
                remedy="rename the function and the nodes that call it, or inline it if it is meant (onnx.inliner)",
            )


def _with_opsets(model: Any) -> Any:
    """A copy whose functions import the model's operator set; nodes that were written at another one say at which.

    Functions of another operator set are not inlined otherwise, and converting them would lose meaning.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    own = {item.domain: item.version for item in copy.opset_import}
    for function in copy.functions:
        for item in function.opset_import:
            version = own.get(item.domain, item.version)
            if item.version != version:
                _mark(function.node, item.domain, item.version)
                item.version = version
    return copy


def _mark(nodes: Iterable[Any], domain: str, version: int) -> None:
    """Says in each node of a domain, those of subgraphs too, at which version of its operator set it was written."""
    for node in nodes:
        if node.domain == domain:
            mark = node.metadata_props.add()
            mark.key, mark.value = _OPSET, str(version)
        for attribute in node.attribute:
            _mark(attribute.g.node, domain, version)


def opset_of(node: Any, file: OnnxFile) -> int:
    """The version of its domain's operator set at which a node was written."""
    for item in node.metadata_props:
        if item.key == _OPSET:
            return int(item.value)
    return file.opset if node.domain in DEFAULT_DOMAIN else file.opsets.get(node.domain, 1)


def _converted(convert: Any, message: str, where: str) -> Any:
    """What a function of the ``onnx`` package gives; its many kinds of errors become one of ours."""
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
        refuse_pointer(target)
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
