"""ONNX models of plain nodes, and what the reference makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.weights import split_state

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def tensor(name, *shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, list(shape))


def constant(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def model(nodes, inputs, outputs, constants=(), opset=21):
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializer=list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(tmp_path: Path, proto, name="small.onnx") -> Path:
    path = tmp_path / name
    onnx.save(proto, path)
    return path


def forward(network, batch, mode="reference"):
    backend = load_backend("numpy")
    program = backend.compile_forward(network.graph, ProgramOptions(mode, precision("float64")))
    program.load(*split_state(network.graph, network.arrays))
    result = program.download(program.run(program.upload(batch)))
    return network.results(result.outputs)
