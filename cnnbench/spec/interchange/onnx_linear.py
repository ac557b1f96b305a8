"""Importers of matrix products."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_shape import raised, reshaped
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Add, Linear
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.shape import Transpose, Unsqueeze


@importer("MatMul")
def matmul(node: OnnxNode) -> Value:
    """MatMul: a linear layer where the model fixes a matrix on the right; else a product of two values."""
    weight = node.constant(1)
    if weight is not None and weight.ndim == 2 and len(node.shape(0)) > 1:
        layer = Linear(out_features=weight.shape[1], bias=False)
        return node.add(layer, node.value(0), arrays={"weight": weight.T})
    a, b = node.value(0), node.value(1)
    left = a if len(a.shape) > 1 else node.add(Unsqueeze(axes=(0,)), a, part="row")
    right = b if len(b.shape) > 1 else node.add(Unsqueeze(axes=(1,)), b, part="column")
    product = node.add(MatMul(), left, right)
    if len(a.shape) > 1 and len(b.shape) > 1:
        return product
    shape = (*product.shape[:-2], *a.shape[-2:-1], *b.shape[-1:][: len(b.shape) - 1])
    return reshaped(node, product, shape, "vector")


@importer("Gemm")
def gemm(node: OnnxNode) -> Value:
    """alpha A' B' + beta C: a linear layer where B and C are known, alpha and beta being taken into its arrays."""
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    known = node.knowable(1) and (not node.has(2) or node.knowable(2))
    return _linear(node, alpha, beta) if known else _general(node, alpha, beta)


def _linear(node: OnnxNode, alpha: float, beta: float) -> Value:
    x = node.value(0)
    if node.attribute("transA", 0):
        x = node.add(Transpose(permutation=(1, 0)), x, part="transposed")
    weight = node.static(1, "the matrix B")
    weight = _scaled(weight if node.attribute("transB", 0) else weight.T, alpha)
    added = _scaled(node.static(2, "the addend C"), beta) if node.has(2) else None
    outputs = weight.shape[0]
    if added is not None and added.ndim == 2 and added.shape[0] != 1:
        product = node.add(Linear(out_features=outputs, bias=False), x, part="product", arrays={"weight": weight})
        return node.add(Add(broadcast=True), product, node.parameter(added, "addend"))
    arrays = {"weight": weight}
    if added is not None:
        arrays["bias"] = np.broadcast_to(added.reshape(-1), (outputs,))
    return node.add(Linear(out_features=outputs, bias=added is not None), x, arrays=arrays)


def _general(node: OnnxNode, alpha: float, beta: float) -> Value:
    layer = MatMul(transpose_a=bool(node.attribute("transA", 0)), transpose_b=bool(node.attribute("transB", 0)))
    y = node.add(layer, node.value(0), node.value(1), part="product")
    y = y if alpha == 1 else node.add(Affine(scale=alpha), y, part="scaled")
    if not node.has(2):
        return y
    added = node.value(2)
    added = added if beta == 1 else node.add(Affine(scale=beta), added, part="addend")
    return node.add(Add(broadcast=True), y, raised(node, added, 2, "raised"))


def _scaled(array: Array, factor: float) -> Array:
    return array if factor == 1 else (array.astype(np.float64) * factor).astype(array.dtype)
