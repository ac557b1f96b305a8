"""The walk over an ONNX model's nodes: each is folded where its operands are known, else handed to its importer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_file import DEFAULT_DOMAIN
from cnnbench.spec.interchange.onnx_folding import fold
from cnnbench.spec.interchange.onnx_names import graph_name, module_name
from cnnbench.spec.interchange.onnx_node import IMPORTERS, OnnxNode, Result, known_importers
from cnnbench.spec.interchange.onnx_state import Importing
from cnnbench.spec.interchange.onnx_tensor import Tensor, known


def import_node(importing: Importing, proto: Any) -> None:
    """Imports one node of the model; its results stand under its outputs' names.

    Raises:
        SpecError: An operator, or a form of one, that is not imported.
    """
    node = OnnxNode(proto, importing, _node_name(importing, proto))
    results = _results(node, "" if proto.domain in DEFAULT_DOMAIN else proto.domain)
    listed = results if isinstance(results, list | tuple) else [results]
    for name, result in zip(node.outputs, listed, strict=False):
        if name and result is not None:
            importing.define(name, _tensor(result))


def _results(node: OnnxNode, domain: str) -> Result | Sequence[Result]:
    folded = fold(node) if not domain else None
    if folded is not None:
        return folded
    handler = IMPORTERS.get((domain, node.op))
    if handler is None:
        full = f"{domain}.{node.op}" if domain else node.op
        raise SpecError(
            f"the operator {full!r} is not imported",
            where=node.where,
            received=f"{full} of opset {node.written_at}",
            remedy=did_you_mean(full, known_importers()),
        )
    try:
        return handler(node)
    except SpecError as error:
        raise (error if error.where and error.where.startswith(node.where) else error.at(node.where)) from None


def _node_name(importing: Importing, proto: Any) -> str:
    """A node's name: its weight's without ``.weight``, as PyTorch exports it, else its own, else its output's."""
    for item in proto.input[1:]:
        if item.endswith(".weight") and importing.is_known(item):
            return graph_name(item.removesuffix(".weight"))
    named = module_name(proto.name, proto.op_type)
    if named and not named.isdecimal():
        return named
    return f"{proto.op_type}_{graph_name(next(filter(None, proto.output), ''))}".lower()


def _tensor(result: Result) -> Tensor:
    if isinstance(result, Value):
        return Tensor(value=result)
    return result if isinstance(result, Tensor) else known(np.asarray(result))
