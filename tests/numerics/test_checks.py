"""The checks end to end: correct backends pass, and what is wrong is named, located and reproduced."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.conformance import run_cases
from cnnbench.errors import CnnbenchError, DataError, SuiteError, UnavailableError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operations import Operation
from cnnbench.execution.precision import precision
from cnnbench.numerics.calibration import num_runs
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import CHECKS, run_checks
from cnnbench.numerics.divergence import FORMAT
from cnnbench.numerics.faults import inject
from cnnbench.numerics.replay import replay
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.registry import build
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, Linear, ReLU
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

FLOAT32 = ProgramOptions("reference", precision("float32"))


def case_of(name: str, options: ProgramOptions = FLOAT32, seed: int = 0, **fields) -> Case:
    graph = build(name)
    x = stream(seed, "inputs").normal(size=(2, *graph.inputs[0].shape)).astype(np.float32)
    return Case(graph, general_position(graph, seed), {graph.inputs[0].name: x}, options, seed=seed, **fields)


class Altered:
    """A backend whose forward results are altered on their way."""

    def __init__(self, change, backend: str = "numpy") -> None:
        self.inner = InProcessSubject(loaded_backend(backend))
        self.change = change
        self.gradient = self.inner.gradient
        self.steps = self.inner.steps

    def forward(self, graph, arrays, batch, options):
        result = self.inner.forward(graph, arrays, batch, options)
        return result._replace(outputs={name: self.change(name, value) for name, value in result.outputs.items()})


def networks_and_ways() -> Iterator[object]:
    """(network, backend, mode); the larger one on NumPy's reference, and all that compile, are slow."""
    compiling = {("jax", "jit"), ("tensorflow", "graph"), ("torch", "compile")}
    for network in ("lenet5", "resnet20"):
        for way in (("numpy", "reference"), ("numpy", "fast"), ("torch", "eager"), *sorted(compiling)):
            marks = [getattr(pytest.mark, way[0])] if way[0] != "numpy" else []
            if way in compiling or (network, way[1]) == ("resnet20", "reference"):
                marks += [pytest.mark.slow, pytest.mark.timeout(1500)]
            yield pytest.param(network, *way, marks=marks)


@pytest.mark.parametrize(("network", "backend", "mode"), list(networks_and_ways()))
def test_a_correct_backend_passes_every_check(network, backend, mode):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    options = ProgramOptions(mode, precision("float32"), fold_batch_norm=True)
    seen: list[str] = []
    outcomes = run_checks(
        tuple(CHECKS), InProcessSubject(loaded_backend(backend)), case_of(network, options), seen.append
    )
    assert seen == list(CHECKS)
    for outcome in outcomes:
        assert outcome.status == "passed", (outcome.name, outcome.message)
    local = outcomes[0]
    assert {use.node for use in local.nodes} == {node.name for node in case_of(network).lowered.nodes}
    assert 0 < local.budget_used <= 1
    assert local.worst_case_used <= local.budget_used


@pytest.mark.slow
@pytest.mark.tensorflow
def test_xlas_one_pass_variance_is_found_where_the_plain_op_is_used_and_the_backend_avoids_it():
    """XLA computes the fused batch norm's variance as E[x^2] - E[x]^2, which cancels where the mean is large."""
    pytest.importorskip("tensorflow", reason="needs TensorFlow")
    options = ProgramOptions("xla", precision("float32"))
    backend = loaded_backend("tensorflow")
    (ours,) = run_cases(InProcessSubject(backend), options, ["batch_norm/large_mean"])
    assert ours.status == "passed", ours.message
    own = backend.operations["batch_norm"]
    plain = Operation(lambda *operands: own.forward(*operands), own.backward, own.weight_layout)
    backend.operations = backend.operations.replace("batch_norm", plain)
    (found,) = run_cases(InProcessSubject(backend), options, ["batch_norm/large_mean"])
    assert found.status == "failed"


def test_a_wrong_epsilon_is_reported_at_its_node_although_all_later_nodes_inherit_it(tmp_path):
    backend = load_backend("numpy")
    right = backend.operations["batch_norm"]

    def wrong(layer, inputs, weights, state, call):
        eps = 1e-3 if inputs[0].shape[1:] == (32, 16, 16) else layer.eps  # from the second stage on only
        return right.forward(replace(layer, eps=eps), inputs, weights, state, call)

    changed = Operation(wrong, right.backward, right.weight_layout)
    backend.operations = backend.operations.replace("batch_norm", changed)
    case = case_of("resnet20", folder=tmp_path)
    local, end_to_end = run_checks(["local", "end_to_end"], InProcessSubject(backend), case)
    first = next(
        n.name
        for n in case.lowered.nodes
        if isinstance(n.layer, BatchNorm) and case.lowered.input_shapes(n, 2)[0][1:] == (32, 16, 16)
    )
    assert local.status == "failed"
    assert local.node == first
    assert local.budget_used > 10
    assert {use.node for use in local.nodes if use.sharp_used > 1} == set(local.details["failing"])
    assert all("bn" in name or "downsample" in name for name in local.details["failing"])
    assert first in local.details["report"]
    assert "eps=1e-05" in local.details["report"]
    assert end_to_end.status == "failed"
    assert end_to_end.node == first
    # the file reproduces that node alone, fails on the wrong backend and passes on a right one
    assert replay(tmp_path / f"local-{first}.safetensors", InProcessSubject(backend)).status == "failed"
    again = replay(tmp_path / f"local-{first}.safetensors", InProcessSubject(load_backend("numpy")))
    assert again.status == "passed"
    assert again.node == first


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda name, value: np.where(np.arange(value.size).reshape(value.shape) == 3, np.nan, value), "nan"),
        (lambda name, value: value[..., :-1], "wrong_shape"),
        (lambda name, value: value.astype(np.float64), "wrong_dtype"),
    ],
)
def test_nan_and_wrong_shapes_and_dtypes_are_problems_of_their_own(change, problem):
    def alter(name, value):
        return change(name, value).astype(value.dtype) if problem == "nan" else change(name, value)

    outcomes = run_checks(["local", "exact", "end_to_end"], Altered(alter), case_of("lenet5"))
    for outcome in outcomes:
        assert outcome.status == "failed"
        assert outcome.details["problem"] == problem


def test_a_nan_that_the_network_itself_makes_is_no_problem():
    case = case_of("lenet5")
    image = next(iter(case.batch.values())).copy()
    image[0, 0, 0, 0] = np.nan
    outcome = run_checks(["local"], InProcessSubject(load_backend("numpy")), replace(case, batch={"image": image}))[0]
    assert outcome.status == "passed", outcome.message


def test_an_output_that_is_wrong_after_its_node_is_seen_end_to_end_and_said_to_be_the_outputs():
    case = case_of("lenet5")
    swapped = Altered(lambda name, value: value[::-1].copy() if name == "logits" else value)
    local, end_to_end = run_checks(["local", "end_to_end"], swapped, case)
    assert local.status == "passed"
    assert end_to_end.status == "failed"
    assert end_to_end.node == "fc3"
    assert "every node alone that was compared is within its budget" in end_to_end.message
    assert "fc3, as output logits and under no other name" in end_to_end.message


def test_one_wrong_weight_is_found_by_equality_alone(tmp_path):
    backend = load_backend("numpy")
    case = case_of("lenet5", folder=tmp_path)
    with inject(backend, "conv.one_wrong_weight"):
        local, exact = run_checks(["local", "exact"], InProcessSubject(backend), case)
    assert exact.status == "failed"
    assert exact.node == "conv1"
    assert "expected exactly" in exact.message
    assert replay(next(tmp_path.glob("exact-*")), InProcessSubject(load_backend("numpy"))).status == "passed"
    assert local.budget_used < 10


def test_differing_bits_pass_while_they_are_within_the_envelope_and_fail_beyond():
    case = case_of("lenet5")
    for size, status in ((1e-6, "passed"), (0.1, "failed")):
        calls = iter(range(10))
        drifting = Altered(lambda name, value, s=size, c=calls: value + np.float32(s * next(c)))
        outcome = run_checks(["determinism"], drifting, case)[0]
        assert outcome.status == status
        assert outcome.details["bitwise"] is False
        assert outcome.details["largest_difference"] == pytest.approx(size, rel=0.3)
    steady = run_checks(["determinism"], InProcessSubject(load_backend("numpy")), case)[0]
    assert steady.details["bitwise"] is True


class Unsteady:
    """The NumPy backend, with something added to one gradient that grows from call to call."""

    def __init__(self, size: float) -> None:
        self._inner = InProcessSubject(load_backend("numpy"))
        self._size, self._calls = size, 0
        self.forward, self.steps = self._inner.forward, self._inner.steps

    def gradient(self, graph, arrays, batch, options, loss=None):
        result = self._inner.gradient(graph, arrays, batch, options, loss)
        if "conv1.weight" in result.weights:
            result.weights["conv1.weight"] = result.weights["conv1.weight"] + np.float32(self._size * self._calls)
        self._calls += 1
        return result


@pytest.mark.parametrize(("size", "status"), [(1e-8, "passed"), (0.1, "failed")])
def test_gradients_that_differ_from_run_to_run_are_measured_against_their_envelope(size, status):
    outcome = run_checks(["gradient_determinism"], Unsteady(size), case_of("lenet5"))[0]
    assert outcome.status == status
    assert outcome.details["bitwise"] is False
    assert outcome.details["output"] == "conv1.weight"
    assert outcome.details["largest_difference"] == pytest.approx(size, rel=0.5)
    assert "in gradient 'conv1.weight'" in outcome.message


def test_gradients_that_are_the_same_bits_need_no_envelope(monkeypatch):
    monkeypatch.setattr("cnnbench.numerics.checks.determinism.gradient_envelope", None)
    outcome = run_checks(["gradient_determinism"], InProcessSubject(load_backend("numpy")), case_of("lenet5"))[0]
    assert (outcome.status, outcome.details["bitwise"]) == ("passed", True)


def test_without_a_loss_there_are_no_gradients_to_repeat():
    case = case_of("lenet5")
    empty = replace(case, batch={name: x[:0] for name, x in case.batch.items()})
    outcome = run_checks(["gradient_determinism"], InProcessSubject(load_backend("numpy")), empty)[0]
    assert outcome.status == "skipped"
    assert "no loss" in outcome.message


def test_a_network_without_weights_has_no_gradients_to_repeat():
    builder = Builder("plain")
    graph = builder.build(builder.add("relu", ReLU(), builder.input("image", (1, 4, 4))))
    case = Case(graph, {}, {"image": np.ones((2, 1, 4, 4), np.float32)}, FLOAT32)
    outcome = run_checks(["gradient_determinism"], InProcessSubject(load_backend("numpy")), case)[0]
    assert outcome.status == "skipped"
    assert "no trainable weights" in outcome.message


@pytest.mark.parametrize("change", [lambda weights: {}, lambda weights: {"conv1.weight": weights["conv1.weight"][:1]}])
def test_gradients_that_come_in_another_shape_the_second_time_fail(change):
    subject = Unsteady(0.0)
    steady, calls = subject.gradient, []

    def gradient(*arguments):
        result = steady(*arguments)
        calls.append(1)
        return result._replace(weights=change(result.weights)) if len(calls) == 2 else result

    subject.gradient = gradient
    outcome = run_checks(["gradient_determinism"], subject, case_of("lenet5"))[0]
    assert (outcome.status, outcome.details["problem"]) == ("failed", "wrong_shape")


def test_a_reverse_pass_that_forgets_a_branch_is_found_end_to_end():
    """Every layer's own gradient is right; only what is summed between them is wrong."""
    inner = InProcessSubject(load_backend("numpy"))

    class Forgetful:
        forward, steps = inner.forward, inner.steps

        def gradient(self, graph, arrays, batch, options, loss=None):
            result = inner.gradient(graph, arrays, batch, options, loss)
            if loss is not None and "conv1.weight" in result.weights:
                result.weights["conv1.weight"] = result.weights["conv1.weight"] * np.float32(0.5)
            return result

    outcome = run_checks(["gradient"], Forgetful(), case_of("lenet5"))[0]
    assert outcome.status == "failed"
    assert outcome.node == "conv1"
    assert "every layer alone is within its budget" in outcome.message


def test_float64_has_a_budget_of_its_own_that_float32_does_not_meet():
    case = case_of("lenet5", ProgramOptions("reference", precision("float64")))
    subject = InProcessSubject(load_backend("numpy"))
    assert all(outcome.status == "passed" for outcome in run_checks(["local", "end_to_end"], subject, case))
    rounded = Altered(lambda name, value: value.astype(np.float32).astype(np.float64))
    assert all(outcome.status == "failed" for outcome in run_checks(["local", "end_to_end"], rounded, case))


def test_what_a_backend_cannot_do_is_skipped_with_the_reason():
    class Unable(Altered):
        def forward(self, graph, arrays, batch, options):
            raise UnavailableError("no convolutions here")

    outcome = run_checks(["local"], Unable(None), case_of("lenet5"))[0]
    assert outcome.status == "skipped"
    assert "no convolutions here" in outcome.message


def test_an_unknown_check_is_answered_with_the_nearest():
    with pytest.raises(SuiteError, match="local"):
        run_checks(["locl"], InProcessSubject(load_backend("numpy")), case_of("lenet5"))


def test_a_file_that_is_no_reproducer_is_refused(tmp_path):
    from cnnbench.spec.weights import save

    save({"x": np.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="no reproducer"):
        replay(tmp_path / "x.safetensors", InProcessSubject(load_backend("numpy")))


def test_training_comparisons_end_where_the_envelope_is_as_large_as_the_way():
    """A convolution's bias before a batch norm has no gradient but rounding: nothing can be compared there."""
    builder = Builder("bias without gradient")
    x = builder.input("image", (2, 6, 6))
    x = builder.add("conv", Conv(out_channels=3, kernel_size=3), x)
    x = builder.add("norm", BatchNorm(), x)
    from cnnbench.spec.layers import Flatten

    x = builder.add("fc", Linear(out_features=4), builder.add("flat", Flatten(), x))
    graph = builder.build({"logits": x})
    batch = {"image": stream(0, "inputs").normal(size=(4, 2, 6, 6)).astype(np.float32)}
    case = Case(graph, general_position(graph, 0), batch, FLOAT32)
    outcome = run_checks(["training"], InProcessSubject(load_backend("numpy")), case)[0]
    assert outcome.status == "passed", outcome.message
    assert outcome.details["comparisons_ended"] >= 1


def test_the_training_check_holds_few_states_of_a_run_at_a_time(monkeypatch, tmp_path):
    """Five states of VGG-11 in float64 with their slots are 10 GB; each is written or compared before the next.

    One is kept beside it: that of the late steps, with which the resumed ones are compared.
    """
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path))
    alive: set[int] = set()
    most = 0
    steps = InProcessSubject.steps

    def counted(self, *args):
        nonlocal most
        for step in steps(self, *args):
            if step.training is None:
                yield step
                continue
            largest = max(step.training.weights.values(), key=lambda array: array.size)
            alive.add(id(largest))
            weakref.finalize(largest, alive.discard, id(largest))
            del largest
            most = max(most, len(alive))
            yield step
            del step

    monkeypatch.setattr(InProcessSubject, "steps", counted)
    outcome = run_checks(["training"], InProcessSubject(load_backend("numpy")), case_of("lenet5"))[0]
    assert outcome.status == "passed", outcome.message
    assert 1 <= most <= 3  # the program's own weights may be what its snapshot gave


@pytest.mark.parametrize("parameters", [False, True])
def test_a_network_of_many_weights_takes_fewer_steps_and_fewer_perturbed_runs(monkeypatch, parameters):
    case = case_of("lenet5")
    if parameters:
        monkeypatch.setattr("cnnbench.numerics.case.LARGE_PARAMETERS", 1000)
        monkeypatch.setattr("cnnbench.numerics.calibration.LARGE_PARAMETERS", 1000)
    assert len(case.reduced.training.rates) == (2 if parameters else 5)
    assert num_runs(case) == (3 if parameters else 12)


@pytest.mark.parametrize(
    "case", [None, "{", "[]", '{"graph": {}}', '{"graph": {"schema_version": 1}, "mode": "x", "precision": "float32"}']
)
def test_a_damaged_reproducer_is_refused(tmp_path, case):
    from safetensors.numpy import save_file

    path = tmp_path / "damaged.safetensors"
    save_file({"exact": np.zeros(1)}, path, {"format": FORMAT, **({} if case is None else {"case": case})})
    with pytest.raises(CnnbenchError):
        replay(path, InProcessSubject(load_backend("numpy")))
