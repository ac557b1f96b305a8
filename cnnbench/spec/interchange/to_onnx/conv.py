"""Convolutions of every kind, and linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.spec.interchange.to_onnx.writer import Array, NodeWriter, exporter
from cnnbench.spec.layers.windows import require_pairs


def pads(padding: Any) -> list[int]:
    """Pairs of a resolved layer in ONNX's order: all begins, then all ends."""
    pairs = require_pairs(padding)
    return [begin for begin, _ in pairs] + [end for _, end in pairs]


def convolved(node: NodeWriter, weight: str, bias: str | None, layer: Any = None) -> str:
    """Conv of the first input.

    Args:
        node: Being written.
        weight: The kernel, (O, C/G, ...).
        bias: None for none.
        layer: Whose fields count; the node's own unless given.
    """
    layer = node.layer if layer is None else layer
    return node.op(
        "Conv",
        node.x,
        weight,
        *(() if bias is None else (bias,)),
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        dilations=list(layer.dilation),
        pads=pads(layer.padding),
        group=int(layer.groups),
    )


@exporter("conv", "integer_conv")
def conv(node: NodeWriter) -> list[str]:
    """Conv; a flipped kernel is turned over."""
    flipped = node.layer.flip_kernel
    weight = node.weight("weight", node.layer.correlated, "turned") if flipped else node.weight("weight")
    return [convolved(node, weight, node.weight("bias") if node.layer.bias else None)]


@exporter("partial_conv")
def partial_conv(node: NodeWriter) -> list[str]:
    """Conv with zeros where there is no connection."""
    layer, channels = node.layer, node.shapes[0][1]

    def dense(weight: Array) -> Array:
        full = np.zeros((len(layer.connections), channels, *weight.shape[1:]), weight.dtype)
        places = [(o, c) for o, seen in enumerate(layer.connections) for c in seen]
        for kernel, (o, c) in zip(weight, places, strict=True):
            full[o, c] = kernel
        return full

    found = node.op(
        "Conv",
        node.x,
        node.weight("weight", dense, "dense"),
        node.weight("bias"),
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=pads(layer.padding),
    )
    return [found]


@exporter("scaled_ws_conv")
def scaled_ws_conv(node: NodeWriter) -> list[str]:
    """Conv by the weight as it is once standardised."""
    layer = node.layer

    def standardized(weight: Array) -> Array:
        wide = weight.astype(np.float64)
        axes = tuple(range(1, wide.ndim))
        count = wide[0].size
        centred = wide - wide.mean(axis=axes, keepdims=True)
        variance = np.square(centred).mean(axis=axes, keepdims=True)
        square = {
            "scaled": np.maximum(count * variance, layer.eps),
            "scaled_sum": count * (variance + layer.eps),
            "standard": variance + layer.eps,
        }[layer.form]
        gain = node.array("gain").astype(np.float64).reshape(variance.shape) if layer.gain else 1.0
        return np.asarray(gain * centred / np.sqrt(square))

    weight = node.weight("weight", standardized, "standardized")
    return [convolved(node, weight, node.weight("bias") if layer.bias else None, layer.plain())]


@exporter("conv_transpose")
def conv_transpose(node: NodeWriter) -> list[str]:
    """ConvTranspose: its pads are what is cropped."""
    layer = node.layer
    bias = (node.weight("bias"),) if layer.bias else ()
    found = node.op(
        "ConvTranspose",
        node.x,
        node.weight("weight"),
        *bias,
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        dilations=list(layer.dilation),
        pads=pads(layer.padding),
        output_padding=list(layer.output_padding),
        group=int(layer.groups),
    )
    return [found]


@exporter("constant_filter")
def constant_filter(node: NodeWriter) -> list[str]:
    """Conv of each channel by itself with one fixed kernel."""
    layer, channels = node.layer, node.shapes[0][1]
    kernel = np.array(layer.weights_row_major, float).reshape(1, 1, *layer.kernel_size)
    weight = node.constant(np.repeat(kernel, channels, axis=0), "filter")
    size, stride = list(layer.kernel_size), list(layer.stride)
    return [node.op("Conv", node.x, weight, kernel_shape=size, strides=stride, group=channels)]


@exporter("linear")
def linear(node: NodeWriter) -> list[str]:
    """Gemm of rows, MatMul of tokens."""
    bias = (node.weight("bias"),) if node.layer.bias else ()
    if node.rank == 2:
        return [node.op("Gemm", node.x, node.weight("weight"), *bias, transB=1)]
    product = node.op("MatMul", node.x, node.weight("weight", np.transpose, "transposed"))
    return [node.op("Add", product, *bias) if bias else product]


@exporter("matmul", "integer_matmul")
def matmul(node: NodeWriter) -> list[str]:
    """MatMul, its operands transposed before where the layer says so."""
    flags = (node.layer.transpose_a, node.layer.transpose_b)
    operands = []
    for name, shape, flag in zip(node.inputs, node.shapes, flags, strict=True):
        axes = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        operands.append(node.op("Transpose", name, perm=axes) if flag else name)
    return [node.op("MatMul", *operands)]


@exporter("radial_basis")
def radial_basis(node: NodeWriter) -> list[str]:
    """sum_i (x_i - w_oi)^2, or its negative."""
    apart = node.op("Sub", node.op("Unsqueeze", node.x, node.constant([1], "axes")), node.weight("weight"))
    distance = node.op("ReduceSumSquare", apart, node.constant([2], "axes"), keepdims=0)
    return [node.op("Neg", distance) if node.layer.output == "logit" else distance]
