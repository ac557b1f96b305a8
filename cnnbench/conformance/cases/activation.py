"""Activations: cases shared by all backends."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import LogSoftmax, ReLU, Shape, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax


def few_values(generator: Any, shape: Shape) -> Any:
    """-1, 0 and 1 as floats: maxima that several elements share."""
    return generator.integers(-1, 2, shape).astype(float)


CASES = {
    "relu/plain": LayerCase(ReLU(), EVEN),
    "tanh/plain": LayerCase(Tanh(), EVEN, scale=3.0),
    "tanh/scaled": LayerCase(Tanh(input_scale=2 / 3, output_scale=1.7159), EVEN),
    "sigmoid/plain": LayerCase(Sigmoid(), EVEN, scale=4.0),
    "softmax/channels": LayerCase(Softmax(), EVEN, scale=4.0),
    "softmax/last": LayerCase(Softmax(axis=-1), EVEN),
    "hardmax/channels": LayerCase(Hardmax(), EVEN),
    "hardmax/last": LayerCase(Hardmax(axis=-1), ((3, 7),)),
    "hardmax/ties": LayerCase(Hardmax(), EVEN, draws=(few_values,)),
    "log_softmax/row": LayerCase(LogSoftmax(), ((50,),), scale=6.0),
}
