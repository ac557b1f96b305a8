"""The shared cases on every backend: each layer alone, forward, backward, and bit for bit on integers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cnnbench.conformance import layer_cases, run_cases
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.layers import layer_kinds

FAMILIES = sorted({case.layer.family for case in layer_cases().values()})
MARKS = {name: getattr(pytest.mark, name) for name in ("torch", "jax", "tensorflow")}


def runs() -> Iterator[object]:
    """(backend, mode, precision, family); what is slow is marked so."""
    for name, modes in {
        "numpy": ("reference", "fast"),
        "torch": ("eager", "compile"),
        "jax": ("jit",),
        "tensorflow": ("graph", "xla"),
    }.items():
        for mode in modes:
            for policy in ("float32", "float64") if name == "numpy" else ("float32", "float64", "bfloat16"):
                quick = mode in ("reference", "fast", "eager") and policy == "float32"
                for family in FAMILIES:
                    marks = [MARKS[name]] if name in MARKS else []
                    yield pytest.param(
                        name,
                        mode,
                        policy,
                        family,
                        marks=marks if quick else [*marks, pytest.mark.slow],
                        id=f"{name}-{mode}-{policy}-{family}",
                    )


def first_of_each_kind(family: str) -> list[str]:
    """One case a kind, for backends that compile each case: the others are slow there."""
    firsts: dict[str, str] = {}
    for key, case in layer_cases().items():
        if case.layer.family == family:
            firsts.setdefault(case.layer.kind, key)
    return list(firsts.values())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param("jax", "jit", marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
    ],
)
def test_the_first_case_of_each_kind_passes(load, name, mode, family):
    subject, options = InProcessSubject(load(name)), ProgramOptions(mode, precision("float32"))
    results = run_cases(subject, options, first_of_each_kind(family))
    assert {result.case: result.message for result in results if result.status == "failed"} == {}
    assert any(result.status == "passed" for result in results)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "mode", "policy", "family"), list(runs()))
def test_every_case_passes(load, name, mode, policy, family):
    names = [key for key, case in layer_cases().items() if case.layer.family == family]
    results = run_cases(InProcessSubject(load(name)), ProgramOptions(mode, precision(policy)), names)
    assert {result.case: result.message for result in results if result.status == "failed"} == {}
    assert any(result.status == "passed" for result in results)


def test_every_kind_of_the_core_has_a_case():
    core = {kind for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.layers")}
    assert core == {case.layer.kind for case in layer_cases().values()}


def test_cases_are_named_by_their_kind():
    for name, case in layer_cases().items():
        assert name.partition("/")[0] == case.layer.kind, name
