"""The walk over an ONNX model's nodes: each is folded where its operands are known, else handed to its importer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnbench.errors import CnnbenchError, SpecError, did_you_mean
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_file import opset_of
from cnnbench.spec.interchange.onnx_folding import can_fold, fold
from cnnbench.spec.interchange.onnx_inputs import initializers
from cnnbench.spec.interchange.onnx_names import graph_name, module_name
from cnnbench.spec.interchange.onnx_node import IMPORTERS, SINCE, OnnxNode, Result, known_importers
from cnnbench.spec.interchange.onnx_older import TARGET, modern_forms
from cnnbench.spec.interchange.onnx_state import Importing
from cnnbench.spec.interchange.onnx_tensor import Tensor, known
from cnnbench.spec.interchange.onnx_versions import DEFAULT_DOMAIN, is_standard, require_readable

DAMAGED = "the model is damaged, or has a form that is not known"


def import_node(importing: Importing, proto: Any) -> None:
    """Imports one node of the model; its results stand under its outputs' names.

    Raises:
        SpecError: An operator, or a form of one, that is not imported; with the file, the node and the opset.
    """
    domain = "" if proto.domain in DEFAULT_DOMAIN else proto.domain
    opset = opset_of(proto, importing.file)
    name = _node_name(importing, proto)
    full = f"{domain}.{proto.op_type}" if domain else proto.op_type
    where = f"{importing.file.where}: node {proto.name or name!r} ({full} of opset {opset})"
    try:
        if proto.op_type == "If" and not domain:
            _import_branch(importing, proto)
            return
        forms = None if domain else modern_forms(proto, importing)
        for form in forms or [proto]:
            part = name if form.op_type == proto.op_type else f"{name}_{form.op_type.lower()}"
            node = OnnxNode(form, importing, part, where, opset if forms is None else TARGET)
            _import_form(importing, node)
    except SpecError as error:
        raise (error if (error.where or "").startswith(importing.file.where) else error.at(where)) from None
    except CnnbenchError:
        raise
    except Exception as error:  # a damaged node may break any rule of its operator; -v shows where
        raise SpecError(DAMAGED, where=where, received=f"{type(error).__name__}: {error}"[:300]) from error


def _import_form(importing: Importing, node: OnnxNode) -> None:
    results = _results(node)
    listed = results if isinstance(results, list | tuple) else [results]
    for output, result in zip(node.outputs, listed, strict=False):
        if output and result is not None:
            importing.define(output, _tensor(result))


def _results(node: OnnxNode) -> Result | Sequence[Result]:
    key = (node.domain, node.op)
    if key in IMPORTERS:
        require_readable(node.op, node.domain, node.opset, SINCE[key])
    folded = fold(node) if is_standard(node.op, node.domain) else None
    if folded is not None:
        return folded
    if key in IMPORTERS:
        return IMPORTERS[key](node)
    if is_standard(node.op, node.domain):
        raise SpecError(
            f"the operator {node.op!r} is not imported as a layer",
            received=f"inputs {', '.join(filter(None, node.inputs))}, not all of which are known",
            expected="one of the operators that docs/onnx.md lists" + (", or known inputs" if can_fold(node) else ""),
        )
    if node.domain:
        raise SpecError(
            f"the operator {f'{node.domain}.{node.op}'!r} is not imported",
            remedy="export the model with ONNX's own operators",
        )
    raise SpecError(f"ONNX has no operator {node.op!r}", remedy=did_you_mean(node.op, known_importers()))


def _import_branch(importing: Importing, proto: Any) -> None:
    """If: the branch that a known condition takes."""
    from onnx import helper

    condition = importing.tensor(proto.input[0])
    arrays = None if condition is None else condition.arrays
    if arrays is None:
        raise SpecError(
            "the condition depends on what the network computes, so that its form is not fixed",
            received=repr(proto.input[0]),
            expected="a condition that follows from shapes and constants",
        )
    answers = {bool(array.reshape(-1)[0]) for array in arrays}
    if len(answers) > 1:
        raise SpecError(
            "the condition depends on the batch size, so that the network's form does",
            remedy="export the model with its batch fixed; it is then read as a network of that batch",
        )
    wanted = "then_branch" if answers.pop() else "else_branch"
    branch = next(helper.get_attribute_value(item) for item in proto.attribute if item.name == wanted)
    for name, array in initializers(branch):
        importing.define(name, known(array))
    for node in branch.node:
        import_node(importing, node)
    for theirs, ours in zip(branch.output, proto.output, strict=True):
        if ours:
            importing.define(
                ours, importing.tensor(theirs.name) or Tensor(value=importing.value(theirs.name, "if", ""))
            )


def _node_name(importing: Importing, proto: Any) -> str:
    """A node's name: its weight's without ``.weight``, as PyTorch exports it, else its own, else its output's."""
    for item in proto.input[1:]:
        if item.endswith(".weight") and importing.is_known(item):
            return graph_name(item.removesuffix(".weight"))
    named = module_name(proto.name, proto.op_type)
    if named and not named.isdecimal():
        return named
    return f"{proto.op_type}_{graph_name(next(filter(None, proto.output), ''))}".lower()


def _tensor(result: Any) -> Tensor:
    if isinstance(result, Value):
        return Tensor(value=result)
    return result if isinstance(result, Tensor) else known(np.asarray(result))
