"""Activations: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh

CASES = {
    "relu/plain": LayerCase(ReLU(), EVEN),
    "tanh/plain": LayerCase(Tanh(), EVEN, scale=3.0),
    "tanh/scaled": LayerCase(Tanh(input_scale=2 / 3, output_scale=1.7159), EVEN),
    "sigmoid/plain": LayerCase(Sigmoid(), EVEN, scale=4.0),
    "softmax/channels": LayerCase(Softmax(), EVEN, scale=4.0),
    "softmax/last": LayerCase(Softmax(axis=-1), EVEN),
    "log_softmax/row": LayerCase(LogSoftmax(), ((50,),), scale=6.0),
}
