"""A user's own program as it is, on every framework: proven against its own graph, timed, and refused elsewhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_suite import small_suite

import cnnbench
from cnnbench.errors import SpecError, SuiteError, UnavailableError
from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.harness.suite.plan import plan
from cnnbench.porting.native import lacks_program, own_program
from cnnbench.spec.weights import split_state

CHECKS = ("local", "end_to_end", "timed", "special", "determinism")
MODELS = {
    "torch": """
import torch
from torch import nn
def net():
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    found = nn.Sequential(*parts)
    nn.init.uniform_(found[1].running_var, 0.5, 1.5)
    return found, (3, 6, 6)
def drawn():
    torch.seed()
    return nn.Conv2d(3, 4, 3), (3, 6, 6)
def read_wrongly():
    class Traced(nn.Module):
        def forward(self, x):
            return x + 1.0 if torch.compiler.is_compiling() else x + 1.001
    return Traced(), (3, 4, 4)
""",
    "tensorflow": """
import keras
from keras import layers
def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(),
        layers.AveragePooling2D(2), layers.Conv2D(2, 2, padding="same"),
    ])
""",
    "jax": """
import jax
import numpy as np
from jax import lax
def net():
    draw = np.random.default_rng(0).normal
    params = {"conv": draw(size=(3, 3, 3, 4)).astype("float32"), "fc": draw(size=(4, 5)).astype("float32")}
    def apply(p, x):
        x = lax.conv_general_dilated(x, p["conv"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.relu(x).mean((1, 2)) @ p["fc"]
    return (apply, params), (6, 6, 3)
""",
}
QUICK = (
    ("torch", "native-eager", "float32"),
    ("jax", "native-jit", "float32"),
    ("onnxruntime", "native-plain", "float32"),
)
SERIES = [
    pytest.param(
        backend,
        mode,
        policy,
        id=f"{backend} {mode} {policy}",
        marks=[getattr(pytest.mark, backend), *([] if (backend, mode, policy) in QUICK else [pytest.mark.slow])],
    )
    for backend, mode, policy in (
        ("torch", "native-eager", "float32"),
        ("torch", "native-eager", "bfloat16"),
        ("torch", "native-compile", "float32"),
        ("tensorflow", "native-eager", "float32"),
        ("tensorflow", "native-graph", "float64"),
        ("tensorflow", "native-xla", "float32"),
        ("jax", "native-jit", "float32"),
        ("jax", "native-jit", "float64"),
        ("onnxruntime", "native-optimized", "float32"),
        ("onnxruntime", "native-plain", "float32"),
    )
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(backend) -> the reference to a model of it, in files that are written once: each is read in a process once."""
    folder = tmp_path_factory.mktemp("models")

    def written(backend, function="net"):
        pytest.importorskip(backend)
        if backend == "onnxruntime":
            path = folder / "net.onnx"
            if not path.exists():
                cnnbench.export("lenet5", path, seed=1)
            return str(path)
        path = folder / f"{backend}_nets.py"
        if not path.exists():
            path.write_text(MODELS[backend])
        return f"{path}:{function}"

    return written


@pytest.mark.parametrize(("backend", "mode", "policy"), SERIES)
def test_a_program_as_it_is_computes_the_graph_that_was_read_of_it(model, backend, mode, policy):
    found = cnnbench.verify(model(backend), backends=[f"{backend}:{mode}"], checks=CHECKS, precision=policy)
    assert found.exit_code == 0
    (result,) = found.backends
    local, *others = result.outcomes
    assert local.status == "skipped"
    assert local.message.startswith("not applicable: a program of the user's own runs whole")
    assert [item.status for item in others] == ["passed"] * len(others), [item.message for item in others]


@pytest.mark.torch
def test_a_model_that_computes_something_else_than_its_graph_fails(model):
    reference = model("torch", "read_wrongly")
    found = cnnbench.verify(reference, backends=["torch:native-eager", "torch"], checks=["end_to_end"])
    native, own = (item.outcomes[0] for item in found.backends)
    assert native.status == "failed"
    assert "is 0.001 off" in native.message
    assert own.status == "passed"
    assert found.exit_code == 4


@pytest.mark.torch
def test_a_model_that_draws_its_weights_anew_is_named(model):
    with pytest.raises(SpecError, match="other weights each time") as error:
        cnnbench.verify(model("torch", "drawn"), backends=["torch:native-eager"], checks=["end_to_end"])
    assert "seed" in str(error.value.remedy)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("lenet5", "lenet5 is no model of your own"),
        (None, "is a model of PyTorch, which runs as it is on torch"),
    ],
    ids=["a registered network", "another framework"],
)
def test_what_has_no_program_of_its_own_is_skipped_with_the_reason(model, network, reason):
    backend = "torch" if network else "jax"
    pytest.importorskip("jax")
    native = {"torch": "torch:native-eager", "jax": "jax:native-jit"}[backend]
    found = cnnbench.verify(network or model("torch"), backends=[native], checks=["end_to_end"])
    assert reason in found.backends[0].reason
    assert found.exit_code == 5


@pytest.mark.torch
def test_other_commands_have_no_native_modes(model):
    with pytest.raises(SuiteError, match="native-eager is a mode of verify, predict and suites only"):
        cnnbench.profile(model("torch"), backend="torch:native-eager")


@pytest.mark.parametrize(("backend", "mode", "policy"), SERIES)
def test_predict_runs_a_program_as_it_is(model, backend, mode, policy):
    reference = model(backend)
    shape = cnnbench.build(reference).inputs[0].shape
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    native = cnnbench.predict(reference, image, backend=f"{backend}:{mode}", precision=policy)
    assert (native.backend, native.mode) == (backend, mode)
    right = cnnbench.predict(reference, image, precision="float64").output
    largest = np.abs(right).max()
    assert (
        np.abs(native.output - right).max() <= {"float64": 1e-12, "float32": 1e-5, "bfloat16": 0.05}[policy] * largest
    )
    assert native.output.any()


@pytest.mark.torch
def test_predict_shows_that_it_ran_the_model_and_not_its_graph(model):
    reference, image = model("torch", "read_wrongly"), np.ones((1, 3, 4, 4), np.float32)
    native, own = (cnnbench.predict(reference, image, backend=name).output for name in ("torch:native-eager", "torch"))
    assert np.abs(native - own).max() > 5e-4


@pytest.mark.torch
@pytest.mark.parametrize(
    ("network", "how", "reason"),
    [
        (None, {"nodes": ["conv"]}, "nodes does not apply"),
        (None, {"layout": "channels_last"}, "layout does not apply"),
        (None, {"fold_batch_norm": True}, "fold_batch_norm does not apply"),
        ("lenet5", {}, "lenet5 is no model of your own"),
    ],
)
def test_predict_refuses_what_a_native_mode_cannot_do(model, network, how, reason):
    image = np.zeros((1, 1, 32, 32) if network else (1, 3, 4, 4), np.float32)
    with pytest.raises(UnavailableError, match=reason):
        cnnbench.predict(network or model("torch"), image, backend="torch:native-eager", **how)


@pytest.mark.torch
def test_a_program_keeps_its_weights_and_its_graph(model):
    reference = model("torch")
    found, policy = cnnbench.load(reference), precision("float32")
    own = own_program(reference, "eager", policy, (found.graph, found.arrays))
    options = ProgramOptions("eager", policy, own=own)
    backend = load_backend("torch")
    backend.configure(ProcessSettings())
    program = backend.compile_forward(found.graph, options)
    program.load(*split_state(found.graph, found.arrays))
    others = {name: array + 1 for name, array in found.arrays.items()}
    with pytest.raises(UnavailableError, match="with its own weights"):
        program.load(*split_state(found.graph, others))
    for changed in ({"training": True}, {"fold_batch_norm": True}):
        with pytest.raises(UnavailableError, match="runs whole"):
            backend.compile_forward(found.graph, dataclasses.replace(options, **changed))
    with pytest.raises(UnavailableError, match="runs whole"):
        backend.compile_forward(cnnbench.build("lenet5"), options)
    with pytest.raises(UnavailableError, match="runs forward only"):
        backend.compile_gradient(found.graph, options)


@pytest.mark.torch
def test_a_suite_times_and_weighs_it_beside_our_backend(model, tmp_path):
    (tmp_path / "suite.yaml").write_text(f"""
schema_version: 1
name: native
matrix:
  architectures: [{model("torch")}]
  backends: [{{name: torch, mode: [eager, native-eager]}}]
checks: [end_to_end, timed]
measure:
  latency: {{launches: 1, rounds: 2, samples: 2, max_round_s: 0.1, warmup: {{max_s: 0.2}}}}
  memory: true
  yardsticks: false
""")
    result = cnnbench.run(tmp_path / "suite.yaml", output=tmp_path / "runs")
    assert result.exit_code == 0
    ours, native = result.records
    assert native.cell.mode == "native-eager"
    assert native.cell.comparison_group == ours.cell.comparison_group
    assert native.cell.program_key != ours.cell.program_key
    for record in (ours, native):
        assert record.status == "ok"
        assert record.latency is not None
        assert record.memory is not None


@pytest.mark.torch
def test_what_a_suite_asks_of_it_that_does_not_apply_is_a_skip(model):
    reference = f"file:{model('torch')}"
    choices = [
        {"name": "torch", "mode": "native-eager", "fold_batch_norm": True},
        {"name": "torch", "mode": "native-eager", "layout": "channels_last"},
        {"name": "torch", "mode": "native-eager"},
    ]
    asked = {"architectures": [reference], "image": None, "num_classes": None, "backends": choices}
    skips = [cell.skip for cell in plan(small_suite("native", matrix=asked)).cells]
    assert skips == [
        "native-eager runs your program as it is: fold_batch_norm does not apply",
        "native-eager runs your program as it is: layout does not apply",
        None,
    ]
    assert lacks_program(reference, backend_plugin("torch")) is None
