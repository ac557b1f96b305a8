"""The whole test set for a backend's author, as pytest functions.

from cnnbench.conformance import conformance_tests

globals().update(conformance_tests("mybackend"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from cnnbench.conformance.cases import layer_cases
from cnnbench.conformance.programs import PROGRAMS, small_network
from cnnbench.conformance.run import run_cases
from cnnbench.conformance.sharing import SHARING
from cnnbench.errors import UnavailableError
from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults import fault, faults, kill_table
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.losses import CrossEntropy, Loss, MeanSquaredError
from cnnbench.spec.optimizers import SGD, AdamW, Optimizer
from cnnbench.spec.passes import lower
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position
from cnnbench.training.steps import TrainingSteps

Tests = dict[str, Callable[..., None]]
EVERY_PROGRAM = {**PROGRAMS, **SHARING}
LOSSES: tuple[Loss, ...] = (CrossEntropy(), CrossEntropy(label_smoothing=0.1), MeanSquaredError())
RULES: tuple[Optimizer, ...] = (
    SGD(momentum=0.0),
    SGD(momentum=0.0, weight_decay=0.1),
    SGD(momentum=0.9, weight_decay=0.01, decay="kernels"),
    SGD(momentum=0.9, nesterov=True),
    AdamW(weight_decay=0.1, decay="kernels"),
)


@dataclass(frozen=True)
class _Way:
    """One way of running: a mode at a precision."""

    mode: str
    precision: str

    @property
    def options(self) -> ProgramOptions:
        return ProgramOptions(self.mode, precision(self.precision))

    def __str__(self) -> str:
        return f"{self.mode}-{self.precision}"


def build(
    backend: str,
    *,
    modes: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    onnx: bool = True,
    with_faults: bool = True,
) -> Tests:
    """The test functions by name; what they mean stands at ``conformance_tests``.

    Args:
        backend: As in ``conformance_tests``.
        modes: As in ``conformance_tests``.
        precisions: As in ``conformance_tests``.
        kinds: As in ``conformance_tests``.
        onnx: As in ``conformance_tests``.
        with_faults: Whether the injected faults are among them.
    """
    plugin = backend_plugin(backend)
    ways = [
        _Way(mode, name)
        for mode in (modes or plugin.modes)
        for name in plugin.precisions[mode]
        if precisions is None or name in precisions
    ]
    cases = [name for name, case in layer_cases().items() if kinds is None or case.layer.kind in kinds]
    found = _cases(backend, ways, cases) | _programs(backend, ways) | _refusals(backend)
    if with_faults:
        found |= _faults(backend, ways[0])
    if onnx:
        found |= _onnx(backend, ways[0])
    return found


@cache
def _loaded(name: str) -> Backend:
    reason = backend_plugin(name).unavailable()
    if reason is not None:
        pytest.skip(reason)
    return load_backend(name)


def _cases(backend: str, ways: Sequence[_Way], cases: Sequence[str]) -> Tests:
    @pytest.mark.parametrize("way", ways, ids=str)
    @pytest.mark.parametrize("case", cases)
    def test_shared_case(case: str, way: _Way) -> None:
        loaded = _loaded(backend)
        _skip_what_is_missing(loaded, case)
        (result,) = run_cases(InProcessSubject(loaded), way.options, [case])
        if result.status == "skipped":
            pytest.skip(result.message)
        assert result.status == "passed", result.message

    return _by_name(test_shared_case)


def _programs(backend: str, ways: Sequence[_Way]) -> Tests:
    every_way = pytest.mark.parametrize("way", ways, ids=str)

    @every_way
    @pytest.mark.parametrize("program", EVERY_PROGRAM)
    def test_program(program: str, way: _Way) -> None:
        loaded = _loaded(backend)
        try:
            EVERY_PROGRAM[program](loaded, way.options)
        except UnavailableError as error:
            pytest.skip(str(error))

    @every_way
    @pytest.mark.parametrize("check", ["determinism", "gradient_determinism"])
    def test_determinism(check: str, way: _Way) -> None:
        _require(_loaded(backend), check, _network(way, TrainingSteps()))

    @every_way
    @pytest.mark.parametrize("loss", LOSSES, ids=str)
    def test_loss(loss: Loss, way: _Way) -> None:
        _require(_loaded(backend), "gradient", _network(way, TrainingSteps(loss=loss)))

    @every_way
    @pytest.mark.parametrize("rule", RULES, ids=str)
    def test_optimizer(rule: Optimizer, way: _Way) -> None:
        _require(_loaded(backend), "training", _network(way, TrainingSteps(rule)))

    return _by_name(test_program, test_determinism, test_loss, test_optimizer)


def _refusals(backend: str) -> Tests:
    def test_capabilities_are_what_the_plugin_said() -> None:
        plugin, found = backend_plugin(backend), _loaded(backend).capabilities()
        assert set(found.modes) <= set(plugin.modes)
        assert found.kinds <= set(_loaded(backend).operations)
        for gap in found.gaps:
            assert gap.reason, f"the gap in {gap.kind} gives no reason"

    def test_what_it_does_not_have_is_refused() -> None:
        options = ProgramOptions("no such mode", precision("float32"))
        with pytest.raises(UnavailableError):
            _loaded(backend).compile_forward(small_network(), options)

    return _by_name(test_capabilities_are_what_the_plugin_said, test_what_it_does_not_have_is_refused)


def _faults(backend: str, way: _Way) -> Tests:
    @pytest.mark.parametrize("name", faults())
    def test_fault_is_killed(name: str) -> None:
        loaded = _loaded(backend)
        case = fault(name).case(way.options, 0)
        _skip_missing_kinds(
            loaded, {node.layer.kind for node in lower(case.graph, native=tuple(loaded.operations)).nodes}
        )
        (row,) = kill_table(loaded, way.options, [name])
        if row.skipped is not None:
            pytest.skip(row.skipped)
        assert not row.false_alarm, "the configuration fails without the fault"
        assert row.killed, f"the fault went unnoticed: {row.budget_used} budgets used; {row.message}"
        assert row.located, f"the fault was found elsewhere: {row.message}"

    return _by_name(test_fault_is_killed)


def _onnx(backend: str, way: _Way) -> Tests:
    from cnnbench.conformance.onnx import listed

    @pytest.mark.parametrize("case", [item.name for item in listed("core")])
    def test_onnx_case(case: str) -> None:
        from cnnbench.conformance.onnx import run_onnx_cases

        pytest.importorskip("onnx", reason="needs the onnx package")
        (result,) = run_onnx_cases(_loaded(backend), way.options, [_onnx_cases()[case]])
        if result.status == "skipped":
            pytest.skip(result.message)
        assert result.status == "passed", result.message

    return _by_name(test_onnx_case)


@cache
def _onnx_cases() -> dict[str, Any]:
    from cnnbench.conformance.onnx import load_cases

    return {case.name: case for case in load_cases()}


def _by_name(*functions: Callable[..., None]) -> Tests:
    return {function.__name__: function for function in functions}


def _skip_what_is_missing(backend: Backend, case: str) -> None:
    graph = lower(layer_cases()[case].graph(), native=tuple(backend.operations))
    _skip_missing_kinds(backend, {node.layer.kind for node in graph.nodes})


def _skip_missing_kinds(backend: Backend, kinds: set[str]) -> None:
    """Before the oracle computes anything: a kind that is not there is a skip with its reason."""
    missing = sorted(kind for kind in kinds if kind not in backend.operations)
    if missing:
        declared = [gap.reason for gap in backend.operations.gaps if gap.kind in missing]
        pytest.skip(declared[0] if declared else f"{backend.name} has no op for {', '.join(missing)}")


def _network(way: _Way, training: TrainingSteps) -> Case:
    graph = small_network()
    generator = stream(0, "conformance network")
    batch = {item.name: generator.normal(size=item.full_shape(4)).astype("float32") for item in graph.inputs}
    arrays = general_position(graph, 0)
    case = Case(graph, arrays, batch, way.options, training=training)
    return replace(case, training=replace(training, rates=training.rates[:3]))


def _require(backend: Backend, check: str, case: Case) -> None:
    (outcome,) = run_checks([check], InProcessSubject(backend), case)
    if outcome.status == "skipped":
        pytest.skip(outcome.message)
    assert outcome.status == "passed", outcome.message
