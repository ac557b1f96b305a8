"""A compiled forward pass: the bound graph as an ONNX model in an inference session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cnnbench.errors import SpecError, UnavailableError
from cnnbench.execution.compiled import ForwardProgram
from cnnbench.execution.host import HostArrays, HostResult
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operands import BatchReader, ProgramOperands
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.to_onnx.model import IR_VERSION, OPSET
from cnnbench_onnxruntime.tracing import Trace
from cnnbench_onnxruntime.values import ONNX_TYPES, OnnxValue

Arrays = list[NDArray[Any]]
EMBEDDED_BYTES = 1024  # arrays up to this size lie in the model, where shape inference sees them; others beside it
BATCH = "N"


class OnnxRuntimeForward(ForwardProgram):
    """The forward pass of a bound graph, run by an ONNX Runtime inference session.

    Args:
        bound: The bound graph.
        make_options: Makes the ``onnxruntime.SessionOptions`` of one session.

    Raises:
        UnavailableError: A layer has no ONNX form.
    """

    def __init__(self, bound: BoundGraph, make_options: Callable[[], Any]) -> None:
        self.bound = bound
        self._reader = BatchReader(bound)
        self._make_options = make_options
        self._weights: Arrays = []
        self._state: Arrays = []
        self._session: Any = None
        self._beside: Any = None
        graph = bound.program.graph
        shapes = ([spec.shape for spec in specs] for specs in (graph.named_weights(), graph.named_state()))
        zeros = [[np.broadcast_to(np.zeros((), np.float32), shape) for shape in part] for part in shapes]
        try:
            self._traced(Trace(only_shapes=True), *zeros)
        except SpecError as error:
            raise UnavailableError(str(error)) from None

    def load(self, weights: HostArrays, state: HostArrays) -> None:
        native, running = self.bound.native(weights, state)
        self._weights, self._state = ([np.array(a, np.float32, order="C") for a in part] for part in (native, running))
        self._session = None

    def upload(self, batch: HostArrays) -> ProgramOperands:
        return self._reader.read(batch).map(_placed)

    def prepare(self, operands: ProgramOperands) -> None:
        """Writes the model and makes the session, which optimises it; neither depends on the batch."""
        self.bound.require_loaded(self._weights)
        if self._session is None:
            self._session = self._made_session()

    def run(self, operands: ProgramOperands) -> list[NDArray[Any]]:
        if self._session is None:
            self.prepare(operands)
        names = [item.name for item in self.bound.program.graph.inputs]
        found: list[NDArray[Any]] = self._session.run(None, dict(zip(names, operands.inputs, strict=True)))
        return found

    def download(self, results: list[NDArray[Any]]) -> HostResult:
        return self.bound.host_result([result.copy() for result in results], [array.copy() for array in self._state])

    def _traced(self, trace: Trace, weights: Arrays, state: Arrays) -> list[str]:
        """Walks the program; the names of its outputs in the model."""
        program = self.bound.program
        with trace.growing():
            inputs = [
                OnnxValue(item.name, item.full_shape(1), "int64" if item.dtype == "int" else "float32")
                for item in program.graph.inputs
            ]
            known = [
                [OnnxValue(name, array.shape, "float32", array) for name, array in zip(names, arrays, strict=True)]
                for names, arrays in ((program.weight_names, weights), (program.state_names, state))
            ]
            found = program.forward(inputs, *known)
            taken = {item.name for item in program.graph.inputs} | set(trace.model.initializers)
            names = []
            for value in found.outputs:
                name = trace.emit("Identity", value.name_in_model()) if value.name in taken else value.name
                taken.add(name)
                names.append(name)
        return names

    def _made_session(self) -> Any:
        trace = Trace()
        names = self._traced(trace, self._weights, self._state)
        graph = self.bound.program.graph
        arrays = trace.model.initializers
        beside = {name: array for name, array in arrays.items() if array.nbytes > EMBEDDED_BYTES}
        made = helper.make_graph(
            trace.model.nodes,
            graph.name,
            _described_inputs(graph),
            _described_outputs(graph, names),
            [_elsewhere(n, a) if n in beside else numpy_helper.from_array(a, n) for n, a in arrays.items()],
        )
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        held = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in beside.values()]
        options = self._make_options()
        options.add_external_initializers(list(beside), held)
        self._beside = (beside, held)  # the session reads them
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _placed(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "fi":  # bfloat16 as NumPy's extension type
        array = array.astype(np.float32)
    return np.array(array, np.int64 if array.dtype.kind == "i" else np.float32, order="C")


def _described_inputs(graph: Graph) -> list[Any]:
    return [
        helper.make_tensor_value_info(
            item.name,
            TensorProto.INT64 if item.dtype == "int" else TensorProto.FLOAT,
            [BATCH, *item.shape] if item.batched else list(item.shape),
        )
        for item in graph.inputs
    ]


def _described_outputs(graph: Graph, names: list[str]) -> list[Any]:
    """Without shapes, which ONNX Runtime infers."""
    types = [ONNX_TYPES["int64" if graph.dtypes[value] == "int" else "float32"] for _, value in graph.outputs]
    return [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, types, strict=True)]


def _elsewhere(name: str, array: NDArray[Any]) -> Any:
    """An initializer whose values the session is given beside the model, so that they are not copied into it."""
    proto = TensorProto()
    proto.name, proto.data_location = name, TensorProto.EXTERNAL
    proto.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    proto.dims.extend(array.shape)
    for key, value in (("location", name), ("offset", "0"), ("length", str(array.nbytes))):
        entry = proto.external_data.add()
        entry.key, entry.value = key, value
    return proto
