"""ONNX's cases on every backend: the counts that docs/onnx.md states, and the reasons of the skip list still true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cnnbench.conformance.onnx import GROUPS, ConformanceReport, load_cases, run_onnx_cases, skip_reason
from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision

pytest.importorskip("onnx")

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
EXCLUDED = {"passed": 350, "failed": 0, "skipped": 1, "total": 351}
OTHERS = [
    pytest.param(name, marks=[getattr(pytest.mark, name), pytest.mark.slow])
    for name in ("torch", "jax", "tensorflow", "onnxruntime")
]


def report(load, name, cases, mode=None, **options):
    chosen = mode or backend_plugin(name).modes[0]
    results = run_onnx_cases(load(name), ProgramOptions(chosen, precision("float32")), cases, **options)
    return ConformanceReport(name, chosen, tuple(results))


def stated(name, mode):
    """Passed and skipped of both lists, as docs/onnx.md has them."""
    row = re.search(rf"^\| {name} \| {mode} \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [int(number) for number in re.findall(r"\d+", row.group(1))]


def failures(found):
    return {item.name: item.message for item in found.results if item.status == "failed"}


@pytest.mark.timeout(900)
def test_numpy_passes_the_core_list(load):
    found = report(load, "numpy", load_cases())
    assert failures(found) == {}
    assert found.counts("core") == EXCLUDED
    assert max(item.error or 0.0 for item in found.results) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["numpy", *OTHERS])
def test_every_backend_passes_both_lists(load, name):
    found = report(load, name, load_cases(GROUPS))
    assert failures(found) == {}
    assert found.counts("core") == EXCLUDED
    extended = found.counts("extended")
    assert extended["passed"] >= 400
    assert extended["total"] == 565
    counted = [found.counts(group)[status] for group in GROUPS for status in ("passed", "skipped")]
    assert counted == stated(name, found.mode)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_reference_mode_passes_both_lists(load):
    found = report(load, "numpy", load_cases(GROUPS), mode="reference")
    assert failures(found) == {}
    assert found.counts("core") == EXCLUDED


def test_every_reason_of_the_skip_list_still_holds(load):
    cases = [case for case in load_cases(GROUPS) if skip_reason(case.listed)]
    found = report(load, "numpy", cases, run_skipped=True)
    assert [item.name for item in found.results if item.status == "passed"] == []


def test_a_wrong_op_fails_the_core_list(load):
    """The suite can fail: a ReLU that adds one."""
    from cnnbench.execution.operations import Operation, OpResult

    backend = load("numpy")
    kept = backend.operations
    wrong = Operation(lambda layer, inputs, weights, state, call: OpResult((inputs[0] + 1,)))
    backend.operations = kept.replace("relu", wrong)
    try:
        cases = [case for case in load_cases() if case.listed.operator == "Relu"]
        found = report(load, "numpy", cases)
    finally:
        backend.operations = kept
    assert found.failed_core
    assert found.counts("core")["failed"] == len(cases)


def test_a_report_counts_by_list_and_by_operator(load):
    cases = [case for case in load_cases(GROUPS) if case.listed.operator in ("Relu", "Abs", "MaxUnpool")]
    data = report(load, "numpy", cases).to_json()
    assert data["core"] == {"passed": 3, "failed": 0, "skipped": 0, "total": 3}
    assert data["extended"] == {"passed": 2, "failed": 0, "skipped": 2, "total": 4}
    assert data["operators"]["MaxUnpool"] == {"passed": 0, "failed": 0, "skipped": 2, "total": 2}
    assert [item["status"] for item in data["cases"] if item["operator"] == "MaxUnpool"] == ["skipped", "skipped"]
    assert set(data) == {"backend", "mode", "core", "extended", "operators", "cases"}


def test_a_report_of_nothing_is_empty():
    assert ConformanceReport("numpy", "fast", ()).empty
