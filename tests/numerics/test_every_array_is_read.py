"""No array of a network can be read wrongly unseen: each one, alone, moves an answer beyond its budget."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.comparison import largest_differences
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.registry import build
from cnnbench.spec.composites import MultiHeadAttention
from cnnbench.spec.composites.embedding import ClassToken, LearnedPositions
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import GELU, Add, Conv, GlobalAvgPool, LayerNorm, Linear, RMSNorm
from cnnbench.spec.layers.arithmetic import Parameter
from cnnbench.spec.layers.merge import Multiply
from cnnbench.spec.layers.quantized import IntegerConv, Quantize
from cnnbench.spec.layers.recurrent import GRU, LSTM
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position


def transformer():
    b = Builder("transformer")
    x = b.add("token", ClassToken(), b.add("embed", Linear(out_features=8), b.input("x", (5, 6))))
    x = b.add("positions", LearnedPositions(), x)
    y = b.add("attention", MultiHeadAttention(num_heads=2), b.add("norm1", LayerNorm(), x))
    x = b.add("add1", Add(), x, y)
    y = b.add("act", GELU(), b.add("up", Linear(out_features=16), b.add("norm2", RMSNorm(), x)))
    x = b.add("add2", Add(), x, b.add("down", Linear(out_features=8), y))
    return b.build({"logits": b.add("head", Linear(out_features=3), x)})


def recurrent():
    b = Builder("recurrent")
    x = b.add_all("first", LSTM(hidden_size=6), b.input("x", (4, 5)))[0]
    x = b.add_all("second", GRU(hidden_size=5), x)[0]
    return b.build({"logits": b.add("head", Linear(out_features=3), x)})


def quantized():
    b = Builder("quantized")
    x = b.add("stem", Conv(out_channels=4, kernel_size=3), b.input("image", (3, 8, 8)))
    scale = b.add("scale", Parameter(shape=(4,), trainable=False, distribution="constant", scale=1 / 64))
    x = b.add("conv", IntegerConv(out_channels=5, kernel_size=3), b.add("quantize", Quantize(), x, scale))
    factor = b.add("factor", Parameter(shape=(1, 5, 1, 1), distribution="constant", scale=2.0**-12))
    x = b.add("pool", GlobalAvgPool(), b.add("dequantized", Multiply(), x, factor))
    return b.build({"logits": b.add("head", Linear(out_features=3), x)})


NETWORKS = {
    "lenet5": lambda: build("lenet5"),
    "resnet20": lambda: build("resnet20", image=(3, 16, 16)),
    "transformer": transformer,
    "recurrent": recurrent,
    "quantized": quantized,
}


@cache
def oracle(name: str) -> Oracle:
    graph = NETWORKS[name]()
    batch = {i.name: stream(0, "images", i.name).normal(size=i.full_shape(2)).astype(np.float32) for i in graph.inputs}
    options = ProgramOptions("fast", precision("float32"))
    return Oracle.of(Case(graph, general_position(graph, 0), batch, options))


class Misreading:
    """A backend that reads one array as another one."""

    def __init__(self, name: str, array) -> None:
        self.inner = InProcessSubject(loaded_backend("numpy"))
        self.changed = {name: array}
        self.gradient, self.steps = self.inner.gradient, self.inner.steps

    def forward(self, graph, arrays, batch, options):
        known = {name: array for name, array in self.changed.items() if name in arrays}
        return self.inner.forward(graph, {**arrays, **known}, batch, options)


def end_to_end(subject, oracle: Oracle) -> float:
    """The share of the envelope that the end-to-end check finds, without what it says beside."""
    case = oracle.case
    exact, envelope = forward_envelope(oracle)
    outputs = subject.forward(case.graph, case.stored, case.inputs, case.options).outputs
    return max(envelope.used(largest_differences(outputs, exact)).values())


def misread(arrays):
    """(name, what is read in its place): 1 % more of it, and the array of the same role in the next layer."""
    for name, array in arrays.items():
        yield name, array * np.float32(1.01)
        role = name.rpartition(".")[2]
        others = [k for k, a in arrays.items() if k != name and k.endswith(f".{role}") and a.shape == array.shape]
        following = [k for k in others if list(arrays).index(k) > list(arrays).index(name)]
        for other in (following or others)[:1]:
            yield name, arrays[other]


@pytest.mark.parametrize("network", NETWORKS)
def test_each_array_read_wrongly_moves_an_answer_beyond_its_budget(network):
    asked = oracle(network)
    assert end_to_end(InProcessSubject(loaded_backend("numpy")), asked) <= 1
    unseen = []
    for name, other in misread(asked.case.arrays):
        subject = Misreading(name, other)
        if end_to_end(subject, asked) > 1:
            continue
        (local,) = run_checks(["local"], subject, asked.case)
        if (local.status, local.node) != ("failed", name.rpartition(".")[0]):
            unseen.append(name)
    assert unseen == []
