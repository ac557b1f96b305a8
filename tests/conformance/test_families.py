"""A family of layers has one file stem everywhere: spec, ops of each backend, budgets, faults, cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.spec.kinds import layer_kinds

ROOT = Path(__file__).parents[2]
KINDS = {kind: cls for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}
FAMILIES = {cls.family for cls in KINDS.values()}
# What stands beside the families' files, and what for.
BESIDE = {
    "cnnbench/spec/layers": {"arrays", "axes", "base", "gates", "interpolation", "signals", "windows"},
    "cnnbench/spec/composites": {"base"},
    "cnnbench/conformance/cases": {"accumulation", "case"},  # sums that are too long for a narrow accumulator
    "cnnbench/numerics/budgets": {
        "base",
        "exact",
        "gates",
        "limits",
        "moments",
        "running_error",
        "sensitivity",
        "shared",
        "winograd",
    },
    "cnnbench/numerics/faults": {
        "between_programs",
        "folding",
        "loads",
        "losses",
        "optimizers",
        "programs",
        "sharing",
        "step_gradients",
        "trained",
    },
    "backends/cnnbench_numpy/ops": {"gates", "layout_change", "registry", "taps"},
    "backends/cnnbench_torch/ops": {"gates", "inductor", "layout_change", "registry", "windows"},
    "backends/cnnbench_jax/ops": {"gates", "layout_change", "registry", "windows"},
    "backends/cnnbench_tensorflow/ops": {"gates", "layout_change", "registry", "windows"},
}
BACKENDS = ["numpy", *(pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("torch", "jax", "tensorflow"))]


def stems(folder: str) -> set[str]:
    return {path.stem for path in Path(ROOT, folder).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("folder", BESIDE)
def test_a_file_has_the_stem_of_a_family(folder):
    assert stems(folder) - FAMILIES == BESIDE[folder]


def test_every_family_has_cases():
    assert stems("cnnbench/conformance/cases") >= FAMILIES


@pytest.mark.parametrize("name", BACKENDS)
def test_an_op_stands_in_the_file_of_its_family(load, name):
    found = load(name).operations
    wrong = {
        kind: found[kind].forward.__module__
        for kind, cls in KINDS.items()
        if kind in found and found[kind].forward.__module__ != f"cnnbench_{name}.ops.{cls.family}"
    }
    assert not wrong


def test_the_reference_has_an_op_for_every_primitive():
    assert {kind for kind, cls in KINDS.items() if not cls.is_composite} <= set(load_backend("numpy").operations)
