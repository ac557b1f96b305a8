"""Importers of activations, with ONNX's defaults."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_shape import raised
from cnnbench.spec.layers import Layer, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.merge import Add, Maximum, Minimum, Multiply
from cnnbench.spec.layers.rectifier import HardSigmoid, HardSwish, LeakyReLU, PReLU, Shrink, ThresholdedReLU
from cnnbench.spec.layers.smooth import CELU, ELU, GELU, SELU, Mish, SiLU, Softplus, Softsign

PLAIN: dict[str, Callable[[], Layer]] = {
    "Relu": ReLU,
    "Sigmoid": Sigmoid,
    "Tanh": Tanh,
    "Softplus": Softplus,
    "Softsign": Softsign,
    "Mish": Mish,
    "HardSwish": HardSwish,
}
WITH_FIELDS: dict[str, Callable[[OnnxNode], Layer]] = {
    "LeakyRelu": lambda node: LeakyReLU(negative_slope=node.attribute("alpha", 0.01)),
    "ThresholdedRelu": lambda node: ThresholdedReLU(alpha=node.attribute("alpha", 1.0)),
    "Elu": lambda node: ELU(alpha=node.attribute("alpha", 1.0)),
    "Celu": lambda node: CELU(alpha=node.attribute("alpha", 1.0)),
    "HardSigmoid": lambda node: HardSigmoid(slope=node.attribute("alpha", 0.2), offset=node.attribute("beta", 0.5)),
    "Shrink": lambda node: Shrink(threshold=node.attribute("lambd", 0.5), bias=node.attribute("bias", 0.0)),
    "Gelu": lambda node: GELU(form="tanh" if node.attribute("approximate", "none") == "tanh" else "exact"),
    "Swish": lambda node: SiLU(beta=node.attribute("alpha", 1.0)),
    "Softmax": lambda node: Softmax(axis=node.attribute("axis", -1)),
    "Hardmax": lambda node: Hardmax(axis=node.attribute("axis", -1)),
    "LogSoftmax": lambda node: LogSoftmax(axis=node.attribute("axis", -1)),
}


@importer(*PLAIN)
def plain(node: OnnxNode) -> Value:
    """An activation without fields."""
    return node.add(PLAIN[node.op](), node.value(0))


@importer(*WITH_FIELDS)
def with_fields(node: OnnxNode) -> Value:
    """An activation with fields."""
    return node.add(WITH_FIELDS[node.op](node), node.value(0))


@importer("Selu")
def selu(node: OnnxNode) -> Value:
    """SELU with its constants; with others, an ELU and a factor."""
    x = node.value(0)
    alpha, gamma = node.attribute("alpha", SELU.ALPHA), node.attribute("gamma", SELU.SCALE)
    if np.float32(alpha) == np.float32(SELU.ALPHA) and np.float32(gamma) == np.float32(SELU.SCALE):
        return node.add(SELU(), x)
    return node.add(Affine(scale=gamma), node.add(ELU(alpha=alpha), x, part="elu"))


@importer("PRelu")
def prelu(node: OnnxNode) -> Value:
    """PReLU with one slope, one a channel, or any that broadcast: max(x, 0) + slope min(x, 0)."""
    x = node.value(0)
    slope = node.static(1, "the slope")
    if node.version < 7 and slope.size > 1:  # a slope a channel
        slope = slope.reshape(-1, *(1,) * (len(x.shape) - 2))
    aligned = (1,) * (len(x.shape) - slope.ndim) + slope.shape
    if len(x.shape) > 1 and slope.size == 1:
        return node.add(PReLU(), x, arrays={"weight": slope.reshape(1)})
    if len(x.shape) > 1 and aligned == (1, x.shape[1], *(1,) * (len(x.shape) - 2)):
        return node.add(PReLU(slopes="channel"), x, arrays={"weight": slope.reshape(-1)})
    zero = node.add(Affine(scale=0.0), x, part="zero")
    weight = raised(node, node.parameter(slope, "slope"), len(x.shape), "raised")
    below = node.add(Multiply(), node.add(Minimum(), x, zero, part="negative"), weight, part="scaled")
    return node.add(Add(), node.add(Maximum(), x, zero, part="positive"), below)
