"""Importers of matrix products."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import Array, OnnxNode, importer
from cnnbench.spec.layers import Linear
from cnnbench.spec.layers.merge import Add
from cnnbench.spec.layers.shape import Transpose


@importer("Gemm")
def gemm(node: OnnxNode) -> Value:
    """alpha A' B' + beta C as a linear layer where B and C are known: alpha and beta are taken into its arrays."""
    x = node.value(0)
    if node.attribute("transA", 0):
        x = node.add(Transpose(permutation=(1, 0)), x, part="transposed")
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    weight = node.static(1, "the matrix B")
    weight = weight if node.attribute("transB", 0) else weight.T
    weight = _scaled(weight, alpha)
    added = _scaled(node.static(2, "the addend C"), beta) if node.has(2) else None
    outputs = weight.shape[0]
    if added is not None and added.ndim == 2 and added.shape[0] != 1:
        product = node.add(Linear(out_features=outputs, bias=False), x, part="product", arrays={"weight": weight})
        return node.add(Add(broadcast=True), product, node.parameter(added, "addend"))
    arrays = {"weight": weight}
    if added is not None:
        arrays["bias"] = np.broadcast_to(added.reshape(-1), (outputs,))
    return node.add(Linear(out_features=outputs, bias=added is not None), x, arrays=arrays)


def _scaled(array: Array, factor: float) -> Array:
    return array if factor == 1 else (array.astype(np.float64) * factor).astype(array.dtype)
