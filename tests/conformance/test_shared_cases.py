"""The shared cases on every backend: each layer alone, forward, backward, and bit for bit on integers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from quick_compilation import quick_compilation

from cnnbench.conformance import layer_cases, run_cases
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.kinds import layer_kinds

FAMILIES = sorted({case.layer.family for case in layer_cases().values()})
MARKS = {name: getattr(pytest.mark, name) for name in ("torch", "jax", "tensorflow", "onnxruntime")}
MODES = {
    "numpy": ("reference", "fast"),
    "torch": ("eager", "compile"),
    "jax": ("jit",),
    "tensorflow": ("graph", "xla"),
    "onnxruntime": ("optimized", "plain"),
}
INTERPRETED = (("numpy", "reference"), ("numpy", "fast"), ("torch", "eager"))
PACK = 16  # layers in a graph where each graph is compiled


def marked(name: str, mode: str, policy: str, *, quick: bool) -> object:
    marks = [MARKS[name]] if name in MARKS else []
    return pytest.param(name, mode, policy, marks=marks if quick else [*marks, pytest.mark.slow])


def compiled() -> Iterator[object]:
    """(backend, mode, precision) where graphs are compiled."""
    for name, modes in MODES.items():
        for mode in modes:
            if (name, mode) not in INTERPRETED:
                for policy in ("float32", "float64", "bfloat16") if name != "onnxruntime" else ("float32",):
                    yield marked(name, mode, policy, quick=False)


def interpreted() -> Iterator[object]:
    """(backend, mode, precision) where layers run as they are called: float32 of what users run is quick."""
    for name, mode in INTERPRETED:
        for policy in ("float32", "float64") if name == "numpy" else ("float32", "float64", "bfloat16"):
            yield marked(name, mode, policy, quick=policy == "float32" and mode != "reference")


def cases_of(family: str) -> list[str]:
    return [name for name, case in layer_cases().items() if case.layer.family == family]


def hold(backend: Backend, mode: str, policy: str, names: list[str], pack: int) -> None:
    results = run_cases(InProcessSubject(backend), ProgramOptions(mode, precision(policy)), names, pack=pack)
    assert {result.case: result.message for result in results if result.status == "failed"} == {}
    assert any(result.status == "passed" for result in results)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "mode", "policy"), list(compiled()))
def test_every_case_passes_where_graphs_are_compiled(load, name, mode, policy, family):
    hold(load(name), mode, policy, cases_of(family), PACK)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "mode", "least"),
    [
        pytest.param("jax", "jit", 80, marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", 80, marks=pytest.mark.tensorflow),
        pytest.param("onnxruntime", "optimized", 80, marks=[pytest.mark.onnxruntime, pytest.mark.slow]),
    ],
)
def test_the_first_case_of_each_op_passes_where_graphs_are_compiled(load, name, mode, least):
    """A kind without an op of the backend's own runs as its parts, which have cases here, and is held on others.

    JAX compiles quickly: the slow tests hold every case with all that its compiler does.
    """
    backend = load(name)
    firsts: dict[str, str] = {}
    for case, item in layer_cases().items():
        if item.layer.kind in backend.operations:
            firsts.setdefault(item.layer.kind, case)
    assert len(firsts) > least
    with quick_compilation(name):
        hold(backend, mode, "float32", list(firsts.values()), PACK)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "mode", "policy"), list(interpreted()))
def test_every_case_passes_alone(load, name, mode, policy, family):
    hold(load(name), mode, policy, cases_of(family), 1)


def test_every_kind_of_the_core_has_a_case():
    core = {kind for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}
    assert core == {case.layer.kind for case in layer_cases().values()}


def test_cases_are_named_by_their_kind():
    for name, case in layer_cases().items():
        assert name.partition("/")[0] == case.layer.kind, name
