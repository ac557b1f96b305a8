"""Nodes whose inputs are known are computed while a model is read, with the reference of the ``onnx`` package.

What depends on the batch size alone is computed for each of ``BATCHES``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.interchange.onnx_batch import BATCHES, shapes_in
from cnnbench.spec.interchange.onnx_node import IMPORTERS, OnnxNode
from cnnbench.spec.interchange.onnx_older import TARGET
from cnnbench.spec.interchange.onnx_tensor import Array, Tensor, known_by_batch

# Left to layers: windows and resizing, where the reference differs from the operators' definitions (SAME padding,
# statistics), what draws at random or has a state, and what holds graphs.
_UNFIT = frozenset(
    (
        *("AveragePool", "BatchNormalization", "CausalConvWithState", "Conv", "ConvInteger", "ConvTranspose"),
        *("DeformConv", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GridSample"),
        *("GroupNormalization", "LRN", "LpPool"),
        *("MaxPool", "MaxRoiPool", "MaxUnpool", "PRelu", "QLinearConv", "Resize", "RoiAlign", "Upsample"),
        *("Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"),
        *("RandomUniformLike", "Attention", "GRU", "LSTM", "RNN", "RotaryEmbedding"),
        *("If", "Loop", "Scan", "SequenceMap"),
    )
)
_MOST = 1 << 24  # elements of what is computed for each batch size


def fold(node: OnnxNode) -> list[Tensor] | None:
    """The node's outputs where they are known; None where a layer must compute them.

    Only what the model fixes counts as known: data given for its inputs does not, so that whatever depends on it is
    computed by the backend. Shapes are known even where the elements are not.
    """
    if node.op in ("Shape", "Size") and node.has(0):
        return [_measured(node)]
    if not can_fold(node):
        return None
    tensors = [node.tensor(i) for i in range(len(node.inputs)) if node.has(i)]
    if any(tensor is None or tensor.arrays is None for tensor in tensors):
        return None
    operands = [tensor.arrays for tensor in tensors if tensor is not None and tensor.arrays is not None]
    evaluator = _Evaluator(node)
    if all(tensor is not None and tensor.array is not None for tensor in tensors):
        return _checked(node, [evaluator.run([arrays[0] for arrays in operands])] * len(BATCHES))
    if any(array.size > _MOST for arrays in operands for array in arrays):
        return None
    found = _checked(node, [evaluator.run([arrays[i] for arrays in operands]) for i in range(len(BATCHES))])
    return None if found and ("", node.op) in IMPORTERS and not all(map(_is_linear, found)) else found


def can_fold(node: OnnxNode) -> bool:
    """Whether a node of the operator is computed where its inputs are known."""
    return not node.domain and node.op not in _UNFIT


def _checked(node: OnnxNode, runs: Sequence[list[Any]]) -> list[Tensor] | None:
    """The outputs as tensors; None where one is no array of numbers (a sequence, strings, nothing)."""
    outputs = list(zip(*runs, strict=True))
    if any(not isinstance(array, np.ndarray) or array.dtype.kind in "OSU" for arrays in outputs for array in arrays):
        return None
    return [known_by_batch(arrays) for arrays in outputs]


def _is_linear(tensor: Tensor) -> bool:
    """Whether floats are a + b N for N images, which a layer can hold. Integers and booleans may be anything."""
    arrays = tensor.by_batch
    if arrays is None or arrays[0].dtype.kind != "f" or len({array.shape for array in arrays}) > 1:
        return True
    slope = arrays[1].astype(np.float64) - arrays[0]
    return all(np.allclose(arrays[0] + slope * (n - 1), a, rtol=1e-6) for n, a in zip(BATCHES, arrays, strict=True))


def _measured(node: OnnxNode) -> Tensor:
    """Shape, or Size: the number of elements."""
    shapes = shapes_in(node.shape(0))
    if node.op == "Size":
        return known_by_batch([np.asarray(np.prod(shape, dtype=np.int64)) for shape in shapes])
    part = slice(node.attribute("start", 0), node.attribute("end"))  # beyond either side they are clamped, as there
    return known_by_batch([np.asarray(shape[part], np.int64) for shape in shapes])


class _Evaluator:
    """Computes one node with the reference of the ``onnx`` package, or a view of its operand where it only repeats.

    Args:
        node: Its inputs are known.
    """

    def __init__(self, node: OnnxNode) -> None:
        self._node = node
        self._names = [f"x{i}" for i in range(len(node.inputs)) if node.has(i)]
        self._reference: Any = None

    def run(self, operands: list[Array]) -> list[Any]:
        """The outputs. Raises SpecError where the operands do not fit the operator."""
        simple = _VIEWS.get(self._node.op)
        try:
            if simple is not None:
                return [simple(self._node, operands)]
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found = self._evaluator().run(None, dict(zip(self._names, operands, strict=True)))
        except Exception as error:  # the reference checks little: what does not fit raises anything
            reason = f"{type(error).__name__}: {error}"[:300]
            shapes = ", ".join(f"{operand.dtype} {operand.shape}" for operand in operands)
            raise SpecError("it cannot be computed from what it reads", received=f"{shapes}; {reason}") from error
        return [np.asarray(item) if isinstance(item, np.generic) else item for item in found]

    def _evaluator(self) -> Any:
        if self._reference is None:
            from onnx import NodeProto, ValueInfoProto, defs, helper
            from onnx.reference import ReferenceEvaluator

            node = NodeProto()
            node.CopyFrom(self._node.proto)
            del node.input[:], node.output[:]
            node.input.extend(f"x{i}" if self._node.has(i) else "" for i in range(len(self._node.inputs)))
            node.output.extend(f"y{i}" if name else "" for i, name in enumerate(self._node.outputs))
            given = [ValueInfoProto(name=name) for name in self._names]
            graph = helper.make_graph([node], "node", given, [ValueInfoProto(name=n) for n in node.output if n])
            opset = max(self._node.opset, TARGET)  # older forms have been put into that one
            if defs.get_schema(node.op_type, opset).deprecated:
                opset = self._node.opset
            self._reference = ReferenceEvaluator(graph, opsets={"": opset})
        return self._reference


def _filled(node: OnnxNode, operands: list[Array]) -> Array:
    value = node.attribute("value", np.zeros(1, np.float32))
    return np.broadcast_to(value.reshape(-1)[0], tuple(int(size) for size in operands[0]))


def _expanded(node: OnnxNode, operands: list[Array]) -> Array:
    shape = np.broadcast_shapes(operands[0].shape, tuple(int(size) for size in operands[1]))
    return np.broadcast_to(operands[0], shape)


_VIEWS: dict[str, Callable[[OnnxNode, list[Array]], Array]] = {"ConstantOfShape": _filled, "Expand": _expanded}
