"""What a check says of a subject that cannot do all of it, or whose plugin's code raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from loaded_backends import loaded_backend
from synthetic_run import Truth, synthetic_run

from cnnbench import registry
from cnnbench.errors import UnavailableError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operations import Gradients, OpResult
from cnnbench.execution.precision import precision
from cnnbench.face.verify_result import VerifiedBackend, VerifyResult
from cnnbench.gates.baselines import CellSnapshot
from cnnbench.gates.resources import numerics_verdict
from cnnbench.gates.rules import Rules
from cnnbench.hookspecs import hookimpl
from cnnbench.numerics.budgets import ForwardBudget, measured_forward
from cnnbench.numerics.budgets.base import forward_formula
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import CHECKS, run_checks
from cnnbench.numerics.session import Calls
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.output.junit import run_cases
from cnnbench.output.tables import problems_table, status_entry
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv, Flatten, Layer, Linear, ReLU
from cnnbench.spec.weights import general_position

FLOAT32 = ProgramOptions("reference", precision("float32"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNBENCH_CACHE", str(tmp_path / "cache"))


def network(layer: Layer | None = None) -> Graph:
    builder = Builder("unable")
    x = builder.input("x", (3, 6, 6))
    x = builder.add("conv", Conv(out_channels=4, kernel_size=3), x)
    x = builder.add("act", layer or ReLU(), x)
    x = builder.add("flat", Flatten(), x)
    return builder.build(builder.add("fc", Linear(out_features=5), x))


def alone(layer: Layer) -> Graph:
    builder = Builder("unable")
    return builder.build(builder.add("act", layer, builder.input("x", (3, 6, 6))))


def case_of(graph: Graph, options: ProgramOptions = FLOAT32, **more: Any) -> Case:
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    return Case(graph, general_position(graph, 0), {"x": x}, options, **more)


class ThroughForward:
    """A session of layers side by side whose calls are the subject's forward passes."""

    def __init__(self, subject: Any, graph: Graph, options: ProgramOptions) -> None:
        self.subject, self.graph, self.options = subject, graph, options

    def load(self, arrays):
        self.arrays = arrays

    def upload(self, name, batch):
        self.batch = batch

    def run(self, name, calls=1):
        return Calls(self.subject.forward(self.graph, self.arrays, self.batch, self.options), ("",) * calls, {})

    def close(self):
        pass


class Unable(InProcessSubject):
    """NumPy's reference without what ``lacks`` names, and with an error put into its network's outputs."""

    def __init__(self, *lacks: str, wrong: float = 0.0, error: Exception | None = None) -> None:
        super().__init__(load_backend("numpy"))
        object.__setattr__(self, "lacks", lacks)
        object.__setattr__(self, "wrong", wrong)
        object.__setattr__(self, "error", error or UnavailableError("this device serves only"))

    def forward(self, graph, arrays, batch, options):
        alone = len(graph.inputs) > 1
        if ("training" in self.lacks and options.training) or ("nodes" in self.lacks and alone):
            raise self.error
        if "network" in self.lacks and not alone:
            raise self.error
        result = super().forward(graph, arrays, batch, options)
        outputs = {name: value * np.float32(1 + self.wrong) for name, value in result.outputs.items()}
        return result._replace(outputs=outputs)

    def open(self, graph, options):
        if len(graph.inputs) > 1:
            return ThroughForward(self, graph, options)
        if "network" in self.lacks:
            raise self.error
        return super().open(graph, options)

    def open_gradient(self, *arguments):
        if "gradients" in self.lacks:
            raise self.error
        return super().open_gradient(*arguments)

    def gradient(self, *arguments):
        if "gradients" in self.lacks:
            raise self.error
        return super().gradient(*arguments)


def check(subject: Any, *names: str, case: Case | None = None) -> dict[str, Any]:
    return {item.name: item for item in run_checks(names or tuple(CHECKS), subject, case or case_of(network()))}


def test_a_backend_without_gradients_has_its_forward_half_compared_exactly():
    found = check(Unable("gradients", "training"))
    assert found["exact"].status == "passed"
    assert "gradients were not compared: this device serves only" in found["exact"].message
    assert {name for name, item in found.items() if item.status == "skipped"} == {
        "gradient", "gradient_determinism",
    }  # fmt: skip
    wrong = check(Unable("gradients", wrong=0.5), "exact")["exact"]
    assert wrong.status == "failed"
    assert wrong.node == "conv"


@pytest.mark.parametrize("error", [UnavailableError("no"), RuntimeError("no"), MemoryError("no"), KeyError("no")])
def test_a_mismatch_that_was_found_stays_a_failure_where_its_node_cannot_be_looked_for(error):
    found = check(Unable("nodes", wrong=0.5, error=error), "end_to_end")["end_to_end"]
    assert found.status == "failed"
    assert found.budget_used > 100
    assert "could not be looked for" in found.message
    assert "no" in found.message


def test_a_mismatch_at_inference_stays_where_training_is_refused():
    graph = network()
    builder = Builder("trains")
    x = builder.input("x", (3, 6, 6))
    from cnnbench.spec.layers import BatchNorm

    x = builder.add("conv", Conv(out_channels=4, kernel_size=3), x)
    graph = builder.build(builder.add("bn", BatchNorm(), x))
    assert check(Unable("training", wrong=0.5), "local", case=case_of(graph))["local"].status == "failed"
    passed = check(Unable("training"), "local", case=case_of(graph))["local"]
    assert passed.status == "passed"
    assert "not compared: this device serves only" in passed.message


def test_a_failure_whose_reproducer_cannot_be_written_stays_a_failure(tmp_path):
    (tmp_path / "file").write_text("")
    case = case_of(network(), folder=tmp_path / "file" / "folder")
    for name in ("local", "exact"):
        found = check(Unable(wrong=0.5), name, case=case)[name]
        assert found.status == "failed"
        assert found.reproducer is None
        assert "file" in found.details["no_reproducer"]


def verified(*outcomes: Any) -> VerifiedBackend:
    return VerifiedBackend("numpy", "reference", "", outcomes)


@pytest.mark.parametrize("lacks", ["network", "nodes"])
def test_a_network_that_could_not_be_run_has_not_passed(lacks):
    item = verified(*check(Unable(lacks)).values())
    assert any(outcome.status == "passed" for outcome in item.outcomes)
    assert item.status == "inconclusive"
    passed = verified(*check(Unable(), "local", "end_to_end").values())
    assert passed.status == "passed"
    assert VerifyResult("unable", "float32", None, (passed, item)).exit_code == 5
    assert VerifyResult("unable", "float32", None, (passed,)).exit_code == 0


def test_checks_that_say_the_same_are_told_in_one_sentence():
    (said,) = VerifyResult(
        "unable", "float32", None, (verified(*check(Unable("nodes", "network")).values()),)
    ).problems()
    assert said.startswith("numpy reference, local, exact, end_to_end")
    assert said.endswith("skipped: this device serves only")


def test_a_cell_whose_network_could_not_be_checked_ends_with_5():
    record = next(item for item in synthetic_run(Truth(seed=1)).records if item.status == "ok")
    outcomes = tuple(check(Unable("network")).values())
    assert record.exit_code == 0
    assert record.model_copy(update={"checks": outcomes}).exit_code == 5
    assert record.model_copy(update={"checks": outcomes, "status": "skipped"}).exit_code == 5
    assert record.model_copy(update={"checks": outcomes, "status": "crashed"}).exit_code == 3


@pytest.mark.parametrize("names", [("local",), ("exact", "determinism"), ("gradient", "training")])
def test_a_program_that_no_check_compared_is_not_proven(names):
    outcomes = tuple(
        item.model_copy(update={"details": {}}) for item in check(Unable("gradients"), "end_to_end", *names).values()
    )
    compared, others = verified(*outcomes), verified(*outcomes[1:])
    assert compared.status == "passed"
    assert others.status == "inconclusive"
    assert "no check compared the outputs of the timed program" in str(others.unproven)
    said = VerifyResult("unable", "float32", None, (others,)).problems()
    assert said
    record = next(item for item in synthetic_run(Truth(seed=1)).records if item.status == "ok")
    record = record.model_copy(update={"checks": others.outcomes})
    assert record.exit_code == 5
    assert record.is_unproven
    assert status_entry(record).text == "inconclusive"
    (row,) = problems_table([record]).rows
    assert "end_to_end" in row[-1].text
    assert run_cases([record])[0].outcome == "skipped"
    assert "end_to_end" in run_cases([record])[0].message
    snapshot = CellSnapshot(cell=record.cell, status="ok", checks=others.outcomes)
    assert numerics_verdict(snapshot, snapshot, Rules())[0] == "inconclusive"


# --- plugins whose code raises


@dataclass(frozen=True, kw_only=True)
class Halved(Layer, kind="test_halved"):
    """x / 2."""


def halve(layer, inputs, weights, state, call):
    return OpResult((inputs[0] / 2,))


def halve_backward(layer, saved, gradients, weights, call):
    return Gradients((gradients[0] / 2,))


def fails(*_: Any) -> Any:
    raise ValueError("not\ntoday")


def gives_an_array(layer, inputs, weights, state, call):
    return inputs[0] / 2


@pytest.fixture
def register() -> Iterator[Callable[..., None]]:
    """Registers a plugin with ops for ``test_halved``."""

    def registered(**ops: Any) -> None:
        class Halving:
            @staticmethod
            @hookimpl
            def cnnbench_operations(backend, operations):
                forward = ops.get(backend, halve)
                if forward is not None:
                    operations.register("test_halved", backward=ops.get("backward", halve_backward))(forward)

        registry.plugin_manager().register(Halving(), "halving")

    yield registered
    registry.forget_plugins()


WAYS = [("numpy", "reference"), ("numpy", "fast"), ("torch", "eager"), ("torch", "compile"), ("jax", "jit")]
WAYS += [("tensorflow", "graph"), ("tensorflow", "xla")]


def on(backend: str, mode: str, *names: str) -> dict[str, Any]:
    if backend != "numpy":
        pytest.importorskip(backend, reason="needs the framework")
    # Layers beside it would be compiled by a C++ compiler, which on a busy machine takes minutes and says nothing here.
    graph = alone(Halved()) if mode == "compile" else network(Halved())
    case = case_of(graph, ProgramOptions(mode, precision("float32")))
    return check(InProcessSubject(loaded_backend(backend)), *names, case=case)


@pytest.mark.parametrize(("backend", "mode"), WAYS)
@pytest.mark.parametrize("op", [fails, gives_an_array])
def test_an_op_of_a_plugin_that_raises_fails_the_check_and_is_named(register, backend, mode, op):
    if mode == "compile" and op is gives_an_array:
        pytest.skip("what Dynamo says of it names no file but ours")
    register(**{backend: op})
    found = on(backend, mode, "local", "end_to_end")
    for outcome in found.values():
        assert outcome.status == "failed"
        assert "\n" not in outcome.message
        assert mode == "compile" or "node act (test_halved)" in outcome.message  # Dynamo tells the place alone
        assert op.__name__ in outcome.message
        assert "halving" in outcome.message or __name__ in outcome.message
        assert "not today" in outcome.message or op is gives_an_array or mode == "compile"


def test_a_backward_op_of_a_plugin_that_raises_is_named(register):
    register(backward=fails)
    found = on("numpy", "reference", "local", "gradient")
    assert found["local"].status == "passed"
    assert found["gradient"].status == "failed"
    assert "node act (test_halved): ValueError: not today" in found["gradient"].message


def test_a_budget_of_a_plugin_that_raises_is_named(register):
    register()
    forward_formula("test_halved")(fails)
    try:
        found = on("numpy", "reference", "local")["local"]
    finally:
        forward_formula("test_halved")(lambda setting: ForwardBudget(measured_forward(setting).outputs))
    assert found.status == "failed"
    assert "node act (test_halved): ValueError: not today" in found.message


def test_a_kind_of_a_plugin_that_raises_is_named(register, monkeypatch):
    register()
    case = case_of(network(Halved()))
    monkeypatch.setattr(Halved, "weights", fails)
    found = check(InProcessSubject(load_backend("numpy")), "local", case=case)
    assert found["local"].status == "failed"
    assert "ValueError: not today" in found["local"].message


def test_an_op_that_one_backend_lacks_is_named_and_the_network_has_not_passed(register):
    pytest.importorskip("torch", reason="needs torch")
    register(torch=None)
    found = on("torch", "eager")
    assert found["end_to_end"].status == "skipped"
    assert "no op for act (test_halved)" in found["end_to_end"].message
    assert "forced" not in found["local"].message
    assert verified(*found.values()).status == "inconclusive"


def test_a_defect_of_cnnbench_is_none_of_a_plugin_s(register, monkeypatch):
    register()
    monkeypatch.setattr("cnnbench.numerics.checks.local.teacher_forced", None)
    with pytest.raises(TypeError):
        on("numpy", "reference", "local")
