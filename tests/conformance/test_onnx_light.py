"""The nine light models of the ONNX package on every backend, with seeded He weights, up to the softmax.

As shipped their weights are constants and their expected outputs 0.001 everywhere, which any network gives.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.interchange.onnx_import import load_network
from cnnbench.spec.layers import Softmax
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

onnx = pytest.importorskip("onnx")

# Parameters as published, or counted by hand where the export differs: DenseNet's and Inception v2's batch norms have
# a scale layer each behind them (as in Caffe), which counts twice; ShuffleNet has groups of 3.
PARAMETERS = {
    "bvlc_alexnet": 60_965_224,
    "densenet121": 8_146_152,
    "inception_v1": 6_998_552,
    "inception_v2": 11_234_792,
    "resnet50": 25_557_032,
    "shufflenet": 1_393_320,
    "squeezenet": 1_235_496,
    "vgg19": 143_667_240,
    "zfnet512": 87_250_536,
}
BACKENDS = [
    "numpy",
    *(pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("torch", "jax", "tensorflow")),
]


@cache
def light(name):
    """The graph up to the softmax."""
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    graph = load_network(path)
    softmax = [node for node in graph.nodes if isinstance(node.layer, Softmax)]
    return graph.prefix([softmax[-1].inputs[0]]) if softmax else graph


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_its_parameters_are_those_of_the_network(name):
    graph = light(name)
    trainable = [spec for spec in graph.named_weights() if spec.trainable]
    assert sum(int(np.prod(spec.shape)) for spec in trainable) == PARAMETERS[name]
    (output,) = graph.outputs
    assert int(np.prod(graph.shapes(2)[output[1]])) == 2 * 1000


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_it_agrees_within_budget_on_every_backend(load, name, backend):
    graph = light(name)
    (item,) = graph.inputs
    batch = {item.name: stream(0, "light", name).normal(size=item.full_shape(1)).astype(np.float32)}
    options = ProgramOptions(backend_plugin(backend).modes[0], precision("float32"))
    case = Case(graph, general_position(graph, 0), batch, options)
    (outcome,) = run_checks(("end_to_end",), InProcessSubject(load(backend)), case)
    assert outcome.status == "passed", outcome.message
