"""Every PyTorch op equals the NumPy reference, forward and reverse, in every mode, layout and precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from backend_cases import FAMILIES, draw, results, together, worst

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec import layers as L
from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Builder

pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

RUNS = [("convolution", False), ("pooling", False), ("others", False), ("noisy", False), ("noisy", True)]
# Sums here have at most some 200 terms: float64 leaves a few hundred roundings of 1.1e-16, float32 of 6e-8.
LIMITS = {"float64": 1e-13, "float32": 5e-5}


@pytest.fixture(scope="module")
def expected(oracle: Backend) -> Callable[[str, bool], Mapping[str, Any]]:
    @cache
    def compute(family: str, training: bool) -> Mapping[str, Any]:
        graph = together(FAMILIES[family])
        options = ProgramOptions("reference", precision("float64"), training=training)
        return results(oracle, graph, options, draw(graph, family))

    return compute


def found(backend: Backend, family: str, options: ProgramOptions) -> dict[str, Any]:
    graph = together(FAMILIES[family])
    return results(backend, graph, options, draw(graph, family))


def test_the_backend_has_every_kind_of_the_cases(torch_backend: Backend) -> None:
    """Every kind of the core stands in ``cnnbench.conformance.cases``; these cases vary the costly ones further."""
    layers = [case.layer for family in FAMILIES.values() for case in family.values()]
    primitive = {layer.kind for layer in layers if not isinstance(layer, Composite)}
    assert primitive <= torch_backend.capabilities().kinds


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("name", ["float64", "float32"])
@pytest.mark.parametrize(("family", "training"), RUNS)
def test_eager_ops_equal_the_reference(
    family: str, training: bool, name: str, layout: Any, torch_backend: Backend, expected: Any
) -> None:
    options = ProgramOptions("eager", precision(name), layout=layout, training=training)
    result = found(torch_backend, family, options)
    assert {array.dtype for array in result.values()} == {np.dtype(name)}
    assert worst(result, expected(family, training))[0] < LIMITS[name], worst(result, expected(family, training))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the C++ compiler takes minutes for a family on busy processors
@pytest.mark.parametrize(("name", "layout"), [("float64", "channels_last"), ("float32", "channels_first")])
@pytest.mark.parametrize(("family", "training"), RUNS)
def test_compiled_ops_equal_the_reference(
    family: str, training: bool, name: str, layout: Any, torch_backend: Backend, expected: Any
) -> None:
    options = ProgramOptions("compile", precision(name), layout=layout, training=training)
    result = found(torch_backend, family, options)
    assert worst(result, expected(family, training))[0] < LIMITS[name], worst(result, expected(family, training))


def test_a_compiled_program_equals_the_reference(torch_backend: Backend, oracle: Backend) -> None:
    builder = Builder("tiny")
    x = builder.input("image", (2, 5, 6))
    x = builder.add("conv", L.Conv(out_channels=3, kernel_size=2, padding=((1, 0), (0, 1)), bias=False), x)
    x = builder.add("norm", L.BatchNorm(running_variance="biased"), x)
    graph = builder.build(builder.add("relu", L.ReLU(), x))
    drawn = draw(graph, "tiny")
    wanted = results(oracle, graph, ProgramOptions("reference", precision("float64"), training=True), drawn)
    result = results(torch_backend, graph, ProgramOptions("compile", precision("float64"), training=True), drawn)
    assert worst(result, wanted)[0] < 1e-13, worst(result, wanted)


@pytest.mark.parametrize(("name", "roundoff"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
@pytest.mark.parametrize(("family", "training"), RUNS)
def test_narrow_types_agree_within_their_roundoff(
    family: str, training: bool, name: str, roundoff: float, torch_backend: Backend, expected: Any
) -> None:
    result = found(torch_backend, family, ProgramOptions("eager", precision(name), training=training))
    assert {array.dtype for array in result.values()} == {np.dtype("float32")}
    # Rounding decides which of two near values is the largest, so the gradient of a maximum may go elsewhere.
    kept = [key for key in result if not key.startswith(("gradient of max", "gradient of global-max"))]
    wanted = expected(family, training)
    distance, where = worst({key: result[key] for key in kept}, {key: wanted[key] for key in kept})
    # Inputs, weights and every stored value are rounded; running float32 statistics are the exception that is exact.
    assert roundoff / 8 < distance < 24 * roundoff, where
