"""Graph and arrays -> ONNX model, opset 21: checked by ONNX's own checker before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

import numpy as np

from cnnbench.errors import SpecError, StorageError, UnavailableError
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange import to_onnx
from cnnbench.spec.interchange.to_onnx.writer import EXPORTERS, Array, Exporter, ModelWriter, NodeWriter
from cnnbench.spec.passes import lower

OPSET, IR_VERSION = 21, 10
LARGEST = 1_900_000_000  # bytes of one file; above, weights lie beside it (a protobuf message holds 2^31 bytes)
BATCH = "N"


def to_model(graph: Graph, arrays: Mapping[str, Array], dtype: str = "float32") -> Any:
    """A network as an ``onnx.ModelProto``.

    Composite kinds are written as their parts. The batch axis is open. The model is for inference: dropout is written
    as such, and batch norm by its running statistics. Momentum, which variance runs, the rate of stochastic depth and
    the like are in the nodes' attributes or metadata, and ``weights_of`` is one initializer that several nodes read,
    so that cnnbench reads the same network back.

    Args:
        graph: The network.
        arrays: Its weights and running statistics by full name.
        dtype: Of floats in the model: ``float32`` or ``float64``.

    Raises:
        SpecError: A kind, or a form of one, that ONNX cannot say; a missing array.
    """
    from onnx import TensorProto, helper, numpy_helper

    known = exporters()
    lowered = lower(graph)
    model = ModelWriter(lowered, arrays, np.dtype(dtype))
    for node in lowered.nodes:
        write = known.get(node.layer.kind)
        writer = NodeWriter(model, node)
        if write is None:
            raise writer.refuse("this kind is not written as ONNX", received=node.layer.kind)
        first = len(model.nodes)
        writer.finish(write(writer), first)
    floats = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[dtype]
    one, two = lowered.shapes(1), lowered.shapes(2)

    def described(name: str, value: str) -> Any:
        sizes = zip(one[value], two[value], strict=True)
        shape = [a if a == b else BATCH if (a, b) == (1, 2) else None for a, b in sizes]
        kind = TensorProto.INT64 if lowered.dtypes[value] == "int" else floats
        return helper.make_tensor_value_info(name, kind, shape)

    _name_outputs(model, lowered)
    made = helper.make_graph(
        model.nodes,
        graph.name,
        [described(item.name, item.name) for item in lowered.inputs],
        [described(name, value) for name, value in lowered.outputs],
        [numpy_helper.from_array(array, name) for name, array in model.initializers.items()],
    )
    result = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    result.producer_name = "cnnbench"
    return result


def _name_outputs(model: ModelWriter, graph: Graph) -> None:
    """Outputs carry the graph's names for them; a value that is several outputs is passed on to the others."""
    from onnx import helper

    known = {item.name for item in graph.inputs}
    for name, value in graph.outputs:
        if name == value and value not in known:
            known.add(value)
        elif value in known:
            if name == value:
                raise SpecError("an input cannot be an output under its own name in ONNX", received=name)
            model.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}/output"))
    for name, value in graph.outputs:
        if value not in known:
            for node in model.nodes:
                _rename(node.output, value, name)
                _rename(node.input, value, name)
            known |= {value, name}


def _rename(names: Any, old: str, new: str) -> None:
    for i, name in enumerate(names):
        if name == old:
            names[i] = new


def write_onnx(graph: Graph, arrays: Mapping[str, Array], path: Path, dtype: str = "float32") -> list[str]:
    """Writes a network as an ONNX file, whole or not at all; ONNX's checker has looked at it, shapes included.

    Args:
        graph: The network.
        arrays: Its weights and running statistics by full name.
        path: The file; weights of more than ``LARGEST`` bytes lie beside it as ``<name>.data``.
        dtype: Of floats in the model.

    Returns:
        The operator of each node.

    Raises:
        SpecError: A kind, or a form of one, that ONNX cannot say; a missing array.
        StorageError: The file cannot be written.
        UnavailableError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise UnavailableError("onnx is not installed", remedy="pip install 'cnnbench[onnx]'") from None
    model = to_model(graph, arrays, dtype)
    scratch = path.with_name(f".{path.name}.part")
    large = sum(len(item.raw_data) for item in model.graph.initializer) > LARGEST
    try:
        if large:
            data = f"{path.name}.data"
            path.with_name(data).unlink(missing_ok=True)
            onnx.save_model(model, scratch, save_as_external_data=True, location=data)
            onnx.checker.check_model(str(scratch))
        else:
            onnx.checker.check_model(model, full_check=True)
            onnx.save_model(model, scratch)
        scratch.replace(path)
    except OSError as error:
        raise StorageError(f"the file cannot be written: {error.strerror or error}", where=str(path)) from None
    finally:
        scratch.unlink(missing_ok=True)
    return [node.op_type for node in model.graph.node]


@cache
def exporters() -> Mapping[str, Exporter]:
    """The exporter of each layer kind that ONNX can say."""
    for module in iter_modules(to_onnx.__path__):
        import_module(f"{to_onnx.__name__}.{module.name}")
    return MappingProxyType(EXPORTERS)
