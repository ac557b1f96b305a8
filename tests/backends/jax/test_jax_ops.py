"""Every JAX op equals the NumPy reference, forward and reverse, in every layout, formulation and precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from backend_cases import FAMILIES, draw, results, together, worst

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.composites import Composite

pytest.importorskip("jax", reason="JAX is not installed")
pytestmark = pytest.mark.jax

SLOW = pytest.mark.slow
WHOLE = [("convolution", False), ("pooling", False), ("others", False), ("noisy", False), ("noisy", True)]
RUNS = [("selection", True), *(pytest.param(*run, marks=SLOW) for run in WHOLE)]
CONFIGURATIONS = [
    *((family, training, "float64", "auto") for family, training in WHOLE),
    ("selection", True, "float64", "channels_first"),
    ("selection", True, "float32", "auto"),
    *(pytest.param(*run, "float64", "channels_first", marks=SLOW) for run in WHOLE),
    *(pytest.param(*run, "float32", "auto", marks=SLOW) for run in WHOLE),
]
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


def test_the_backend_has_every_kind_of_the_cases(jax_backend: Backend) -> None:
    """Every kind of the core stands in ``cnnbench.conformance.cases``; these cases vary the costly ones further."""
    layers = [case.layer for family in FAMILIES.values() for case in family.values()]
    primitive = {layer.kind for layer in layers if not isinstance(layer, Composite)}
    assert primitive <= jax_backend.capabilities().kinds


@pytest.mark.parametrize(("family", "training", "name", "layout"), CONFIGURATIONS)
def test_ops_equal_the_reference(
    family: str, training: bool, name: str, layout: Any, jax_backend: Backend, expected: Any
) -> None:
    options = ProgramOptions("jit", precision(name), layout=layout, training=training)
    result = found(jax_backend, family, options)
    assert {array.dtype for array in result.values()} == {np.dtype(name)}
    assert worst(result, expected(family, training))[0] < LIMITS[name], worst(result, expected(family, training))


@pytest.mark.parametrize("family", ["selection", *(pytest.param(f, marks=SLOW) for f in ("convolution", "pooling"))])
def test_the_library_formulations_equal_the_reference(
    family: str, jax_backend: Backend, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on a GPU and for large windows: grouped convolution and reduce_window."""
    import cnnbench_jax.ops.conv
    import cnnbench_jax.ops.windows

    for module in (cnnbench_jax.ops.conv, cnnbench_jax.ops.windows):
        monkeypatch.setattr(module, "on_host", lambda: False)
    result = found(jax_backend, family, ProgramOptions("jit", precision("float64")))
    assert worst(result, expected(family, False))[0] < 1e-13, worst(result, expected(family, False))


@pytest.mark.parametrize(("name", "roundoff"), [("bfloat16", 2.0**-8), pytest.param("float16", 2.0**-11, marks=SLOW)])
@pytest.mark.parametrize(("family", "training"), RUNS)
def test_narrow_types_agree_within_their_roundoff(
    family: str, training: bool, name: str, roundoff: float, jax_backend: Backend, expected: Any
) -> None:
    result = found(jax_backend, family, ProgramOptions("jit", precision(name), training=training))
    assert {array.dtype for array in result.values()} == {np.dtype("float32")}
    # Rounding decides which of two near values is the largest, so the gradient of a maximum may go elsewhere.
    kept = [key for key in result if not key.startswith(("gradient of max", "gradient of global-max"))]
    wanted = expected(family, training)
    distance, where = worst({key: result[key] for key in kept}, {key: wanted[key] for key in kept})
    assert roundoff / 8 < distance < 24 * roundoff, where
