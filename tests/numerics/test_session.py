"""One compiled program that is kept: run again, fed anew in the same memory, loaded with other weights, read back."""

from __future__ import annotations

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operands import overwrite
from cnnbench.execution.precision import precision
from cnnbench.numerics.rounding import all_to_storage
from cnnbench.numerics.session import digest_of, distances
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, GlobalAvgPool, Linear, ReLU
from cnnbench.spec.passes import fold_arrays, lower
from cnnbench.spec.weights import initialize

MODES = [
    ("numpy", "reference"),
    ("numpy", "fast"),
    pytest.param("torch", "eager", marks=pytest.mark.torch),
    pytest.param("jax", "jit", marks=pytest.mark.jax),
    pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
]
WRITABLE = ("numpy", "torch")


def network():
    builder = Builder("small")
    x = builder.add("conv", Conv(out_channels=3, kernel_size=3, bias=True), builder.input("x", (2, 6, 6)))
    x = builder.add("relu", ReLU(), builder.add("bn", BatchNorm(), x))
    return builder.build({"logits": builder.add("fc", Linear(out_features=4), builder.add("pool", GlobalAvgPool(), x))})


def drawn(seed):
    generator = np.random.default_rng(seed)
    return {
        name: generator.uniform(0.5, 1.5, a.shape).astype(np.float32) for name, a in initialize(network(), 0).items()
    }


def images(seed, count=2):
    return {"x": np.random.default_rng(seed).normal(size=(count, 2, 6, 6)).astype(np.float32)}


@pytest.mark.parametrize(("backend", "mode"), MODES)
@pytest.mark.parametrize("fold", [False, True])
def test_a_program_is_compiled_once_and_runs_on_what_it_was_given_last(backend, mode, fold):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    subject, graph = InProcessSubject(loaded_backend(backend)), network()
    options = ProgramOptions(mode, precision("float32"), fold_batch_norm=fold)
    session = subject.open(graph, options)

    def expected(weights, batch):
        return subject.forward(graph, drawn(weights), images(batch), options).outputs

    session.load(drawn(0))
    session.upload("a", images(0))
    found = session.run("a", 5)
    assert found.repeats
    assert len(found.digests) == 5
    assert distances(found.result.outputs, expected(0, 0)) == {"logits": 0.0}
    session.upload("b", images(1))
    assert session.run("b").digests == (digest_of(expected(0, 1)),)
    assert session.run("a").digests[0] == found.digests[0]
    assert session.overwrite("a", "b") == (backend in WRITABLE)
    if backend in WRITABLE:
        assert session.run("a").digests == session.run("b").digests
    session.upload("a", images(2))  # into the same memory of the host
    assert session.run("a").digests == (digest_of(expected(0, 2)),)
    session.load(drawn(1))
    assert session.run("a").digests == (digest_of(expected(1, 2)),)
    wanted = fold_arrays(lower(graph), {k: v.astype(np.float64) for k, v in drawn(1).items()}) if fold else drawn(1)
    held = session.held()
    assert {name: array.tolist() for name, array in held.items()} == {
        name: array.tolist() for name, array in all_to_storage(wanted, options.precision).items() if name in held
    }
    assert held.keys() >= {"conv.weight", "conv.bias", "fc.weight", "fc.bias"}
    session.close()


def test_only_operands_that_can_be_written_to_are_overwritten():
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    assert not overwrite(((fixed,), ()), ((np.ones(3),), ()))
    assert not overwrite((), ())
    target = ({"x": np.zeros(3)}, [None, np.zeros(2)])
    assert overwrite(target, ({"x": np.ones(3)}, [None, np.ones(2)]))
    assert target[0]["x"].all()
    assert target[1][1].all()


def test_distances_say_where_values_cannot_be_compared():
    one = {"y": np.array([1.0, np.nan], np.float32)}
    assert distances(one, one) == {"y": 0.0}
    assert distances({"y": np.array([1.0, 2.0], np.float32)}, one) == {"y": np.inf}
    assert distances({}, one) == distances({"y": np.zeros(3)}, one) == {"y": np.inf}
    assert distances({"y": one["y"] + 0.5}, one) == {"y": 0.5}
    assert digest_of(one) != digest_of({"y": one["y"].astype(np.float64)})
