"""PyTorch's fused attention gives what the parts of the layer give, forward and in every gradient."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from cnnbench.conformance import layer_cases
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.passes import lower

KINDS = ("scaled_dot_product_attention", "multi_head_attention")
CASES = [name for name in layer_cases() if name.partition("/")[0] in KINDS]
pytestmark = pytest.mark.torch


def options(mode: str, policy: str, *, training: bool = False) -> ProgramOptions:
    return ProgramOptions(mode, precision(policy), training=training)


@pytest.mark.parametrize("policy", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_the_fused_kernel_is_the_sum_of_its_parts(name, policy):
    backend = load_backend("torch")
    backend.configure(ProcessSettings(threads=1))
    assert "scaled_dot_product_attention" in backend.operations
    case = layer_cases()[name].case(options("eager", policy))
    subject, parts = InProcessSubject(backend), lower(case.graph)
    settings = options("eager", policy)
    fused = subject.forward(case.graph, case.stored, case.batch, settings).outputs["output"]
    apart = subject.forward(parts, case.stored, case.batch, settings).outputs["output"]
    # the size of what is summed: weights of attention add up to one, projections sum a few terms
    roundoff = precision(policy).storage_roundoff
    near(fused, apart, 64 * roundoff)
    cotangent = np.cos(np.arange(fused.size, dtype=np.float32)).reshape(fused.shape)
    batch = {**case.batch, "gradient.output": cotangent}
    settings = options("eager", policy, training=True)
    one = subject.gradient(case.graph, case.stored, batch, settings)
    other = subject.gradient(parts, case.stored, batch, settings)
    largest = max(float(np.abs(g).max()) for g in (*other.inputs.values(), *other.weights.values()))
    for key in other.inputs:
        near(one.inputs[key], other.inputs[key], 64 * roundoff, largest)
    for key in other.weights:
        near(one.weights[key], other.weights[key], 64 * roundoff, largest)


def near(got, expected, relative, size=None):
    size = float(np.abs(expected).max()) if size is None else size
    assert float(np.abs(got - expected).max()) <= relative * size
