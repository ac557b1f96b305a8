"""What is JAX's own: float64 that does not leak, compilation apart from running, native randomness, devices."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from backend_cases import draw
from step_cases import batches, linear_graph

from cnnbench.errors import UnavailableError
from cnnbench.execution.compiled import ForwardProgram
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.losses import MeanSquaredError
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import split_state

pytest.importorskip("jax", reason="JAX is not installed")
pytestmark = pytest.mark.jax


def small_network() -> Graph:
    builder = Builder("small")
    x = builder.add("conv", L.Conv(out_channels=3, kernel_size=3), builder.input("image", (2, 6, 5)))
    return builder.build(builder.add("norm", L.BatchNorm(), x))


def loaded(backend: Backend, name: str, **fields: Any) -> ForwardProgram:
    graph = small_network()
    program = backend.compile_forward(graph, ProgramOptions("jit", precision(name), **fields))
    program.load(*split_state(graph, draw(graph, "small").arrays))
    return program


def test_the_plugin_imports_no_framework() -> None:
    code = "import sys, cnnbench_jax.plugin as p; p.cnnbench_backends(); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_float64_is_float64_and_leaves_float32_alone(jax_backend: Backend) -> None:
    import jax

    image = draw(small_network(), "small").batch["image"]
    single = loaded(jax_backend, "float32")
    operands = single.upload({"image": image})
    before = single.download(single.run(operands)).outputs["output"]
    double = loaded(jax_backend, "float64")
    results = double.run(double.upload({"image": image}))
    assert results.outputs[0].dtype == np.float64
    assert not jax.config.jax_enable_x64
    again = loaded(jax_backend, "float32")
    results = again.run(again.upload({"image": image}))
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(again.download(results).outputs["output"], before)
    np.testing.assert_array_equal(single.download(single.run(operands)).outputs["output"], before)


def test_float64_sees_what_float32_cannot(jax_backend: Backend) -> None:
    builder = Builder("identity")
    graph = builder.build(builder.add("sum", L.Add(), builder.input("a", (1,)), builder.input("b", (1,))))
    program = jax_backend.compile_forward(graph, ProgramOptions("jit", precision("float64")))
    program.load({}, {})
    batch = {"a": np.array([[1.0]]), "b": np.array([[2.0**-50]])}
    assert program.download(program.run(program.upload(batch))).outputs["output"] == 1.0 + 2.0**-50


def test_float64_that_jax_would_narrow_is_an_error(jax_backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    from cnnbench_jax.arrays import JaxPlacement

    from cnnbench.errors import NumericalError

    monkeypatch.setattr(JaxPlacement, "wide_types", lambda self: nullcontext())
    with pytest.raises(NumericalError, match="dtype"):
        loaded(jax_backend, "float64")


def test_prepare_compiles_and_run_does_not(jax_backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    image = draw(small_network(), "small").batch["image"]
    program = loaded(jax_backend, "float32")
    operands = program.upload({"image": image})
    program.prepare(operands)
    smaller = program.upload({"image": image[:1]})
    program.prepare(smaller)

    def compile_again(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(jax, "jit", compile_again)
    assert program.download(program.run(operands)).outputs["output"].shape == (3, 3, 4, 3)
    assert program.download(program.run(smaller)).outputs["output"].shape == (1, 3, 4, 3)
    with pytest.raises(AssertionError, match="compiled again"):
        program.run(program.upload({"image": image[:2]}))


def test_a_schedule_of_rates_compiles_once(jax_backend: Backend) -> None:
    options = ProgramOptions("jit", precision("float32"), training=True)
    program = jax_backend.compile_step(linear_graph(), options, MeanSquaredError(), SGD())
    program.load({"fc.weight": np.ones((3, 4)), "fc.bias": np.ones(3)}, {})
    for rate, (x, targets) in zip((0.1, 0.05), batches(2), strict=True):
        program.run(program.upload({"x": x, "targets": targets}), rate)
    assert len(program._compiled.executables) == 1  # type: ignore[attr-defined]


def test_synchronize_waits_for_the_latest_run(jax_backend: Backend) -> None:
    program = loaded(jax_backend, "float32")
    results = program.run(program.upload({"image": np.ones((3, 2, 6, 5))}))
    jax_backend.synchronize()
    assert results.outputs[0].is_ready()
    jax_backend.synchronize(results)


def test_native_randomness_draws_its_own_masks() -> None:
    from cnnbench_jax.backend import JaxBackend

    backend = JaxBackend()
    backend.configure(ProcessSettings(native_randomness=True))
    builder = Builder("drop")
    graph = builder.build(builder.add("drop", L.Dropout(p=0.25), builder.input("x", (40, 50))))
    program = backend.compile_forward(graph, ProgramOptions("jit", precision("float32"), training=True))
    program.load({}, {})
    found = program.download(program.run(program.upload({"x": np.ones((2, 40, 50))}))).outputs["output"]
    np.testing.assert_array_equal(np.unique(found), np.float32([0.0, 1.0 / 0.75]))
    # 4000 draws of probability 0.75 have a standard deviation of 27: six of them.
    assert abs((found > 0).sum() - 3000) < 165


def test_a_device_that_is_not_there_is_said() -> None:
    import jax
    from cnnbench_jax.backend import JaxBackend

    if any(device.platform != "cpu" for device in jax.devices()):
        pytest.skip("this machine has an accelerator")
    with pytest.raises(UnavailableError, match="no such device"):
        JaxBackend().configure(ProcessSettings(device="cuda"))
    assert JaxBackend().capabilities().devices == ("cpu",)


def test_the_pool_that_xla_made_is_reported(jax_backend: Backend) -> None:
    import os

    program = loaded(jax_backend, "float32")
    jax_backend.synchronize(program.run(program.upload({"image": np.ones((3, 2, 6, 5))})))
    facts = jax_backend.describe()
    assert facts["processors"] == str(len(os.sched_getaffinity(0)))
    assert any(key.startswith("threads_") and int(value) > 0 for key, value in facts.items())
