"""Every op equals the NumPy reference, forward and reverse, in every mode, layout, formulation and precision."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from backend_cases import FAMILIES, draw, results, together, worst
from loaded_backends import loaded_backend
from quick_compilation import quick_compilation

from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec import layers as L
from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Builder

FRAMEWORKS = ("torch", "jax", "tensorflow")
RUNS = [("convolution", False), ("pooling", False), ("others", False), ("noisy", False), ("noisy", True)]
# Sums here have at most some 200 terms: float64 leaves a few hundred roundings of 1.1e-16, float32 of 6e-8.
LIMITS = {"float64": 1e-13, "float32": 5e-5}
ROUNDOFFS = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
MINUTES = pytest.mark.timeout(1800)  # a C++ compiler takes minutes for a family on busy processors


@pytest.fixture(autouse=True)
def _quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """JAX compiles quickly, and in the slow tests, where every family is in every precision, with all that it does."""
    quick = "jax" in request.keywords and request.node.get_closest_marker("slow") is None
    with quick_compilation("jax" if quick else ""):
        yield


@cache
def loaded(name: str) -> Backend:
    backend = loaded_backend(name)
    if name == "torch":
        backend.configure(ProcessSettings(threads=1))
    return backend


def way(name: str, *more: Any, slow: bool = False) -> Any:
    """Parameters that begin with a backend's name."""
    missing = importlib.util.find_spec(name) is None
    skip = pytest.mark.skipif(missing, reason=f"{name} is not installed")
    words = (item if isinstance(item, str) else " ".join([item[0], *["training"] * item[1]]) for item in (name, *more))
    marks = [getattr(pytest.mark, name), skip, *[pytest.mark.slow, MINUTES] * slow]
    return pytest.param(name, *more, marks=marks, id="-".join(words))


@cache
def expected(family: str, training: bool) -> Mapping[str, Any]:
    graph = together(FAMILIES[family])
    options = ProgramOptions("reference", precision("float64"), training=training)
    return results(loaded("numpy"), graph, options, draw(graph, family))


def found(name: str, family: str, options: ProgramOptions) -> dict[str, Any]:
    graph = together(FAMILIES[family])
    return results(loaded(name), graph, options, draw(graph, family))


@pytest.mark.parametrize("name", [way(name) for name in FRAMEWORKS])
def test_the_backend_has_every_kind_of_the_cases(name: str) -> None:
    """Every kind of the core stands in ``cnnbench.conformance.cases``; these cases vary the costly ones further."""
    layers = [case.layer for family in FAMILIES.values() for case in family.values()]
    primitive = {layer.kind for layer in layers if not isinstance(layer, Composite)}
    assert primitive <= loaded(name).capabilities().kinds


BOTH, SELECTED = ("channels_first", "channels_last"), ("selection", True)


@pytest.mark.parametrize(
    ("name", "mode", "run", "policy", "layout"),
    [
        *(way("torch", "eager", run, policy, at) for run in RUNS for policy in LIMITS for at in BOTH),
        *(way("torch", "compile", run, "float64", "channels_last", slow=True) for run in RUNS),
        *(way("torch", "compile", run, "float32", "channels_first", slow=True) for run in RUNS),
        *(way("jax", "jit", run, "float64", "auto") for run in RUNS),
        *(way("jax", "jit", run, "float64", "channels_first", slow=run != SELECTED) for run in (SELECTED, *RUNS)),
        *(way("jax", "jit", run, "float32", "auto", slow=run != SELECTED) for run in (SELECTED, *RUNS)),
        *(way("tensorflow", "graph", run, "float64", "auto") for run in RUNS),
        *(way("tensorflow", "graph", run, "float32", "auto", slow=run != SELECTED) for run in (SELECTED, *RUNS)),
        *(way("tensorflow", "xla", run, "float64", "auto", slow=run != SELECTED) for run in (SELECTED, *RUNS)),
        *(way("tensorflow", "xla", run, "float32", "auto", slow=run != SELECTED) for run in (SELECTED, *RUNS)),
    ],
)
def test_ops_equal_the_reference(name: str, mode: str, run: tuple[str, bool], policy: str, layout: Any) -> None:
    family, training = run
    result = found(name, family, ProgramOptions(mode, precision(policy), layout=layout, training=training))
    assert {array.dtype for array in result.values()} == {np.dtype(policy)}
    assert worst(result, expected(family, training))[0] < LIMITS[policy], worst(result, expected(family, training))


@pytest.mark.parametrize(
    ("name", "mode", "run", "policy"),
    [
        *(way("torch", "eager", run, policy) for run in RUNS for policy in ROUNDOFFS),
        *(way("jax", "jit", run, "bfloat16", slow=run != SELECTED) for run in (SELECTED, *RUNS)),
        *(way("jax", "jit", run, "float16", slow=True) for run in (SELECTED, *RUNS)),
    ],
)
def test_narrow_types_agree_within_their_roundoff(name: str, mode: str, run: tuple[str, bool], policy: str) -> None:
    family, training = run
    result = found(name, family, ProgramOptions(mode, precision(policy), training=training))
    assert {array.dtype for array in result.values()} == {np.dtype("float32")}
    # Rounding decides which of two near values is the largest, so the gradient of a maximum may go elsewhere.
    kept = [key for key in result if not key.startswith(("gradient of max", "gradient of global-max"))]
    wanted = expected(family, training)
    distance, where = worst({key: result[key] for key in kept}, {key: wanted[key] for key in kept})
    # Inputs, weights and every stored value are rounded; running float32 statistics are the exception that is exact.
    assert ROUNDOFFS[policy] / 8 < distance < 24 * ROUNDOFFS[policy], where


@pytest.mark.parametrize(
    ("name", "family"),
    [way("jax", "selection"), way("jax", "convolution", slow=True), way("jax", "pooling", slow=True)],
)
def test_jax_s_library_formulations_equal_the_reference(
    name: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on a GPU and for large windows: grouped convolution and reduce_window."""
    import cnnbench_jax.ops.conv
    import cnnbench_jax.ops.windows

    for module in (cnnbench_jax.ops.conv, cnnbench_jax.ops.windows):
        monkeypatch.setattr(module, "on_host", lambda: False)
    result = found(name, family, ProgramOptions("jit", precision("float64")))
    assert worst(result, expected(family, False))[0] < 1e-13, worst(result, expected(family, False))


@pytest.mark.parametrize("name", [way("torch")])
def test_a_compiled_program_of_pytorch_equals_the_reference(name: str) -> None:
    builder = Builder("tiny")
    x = builder.input("image", (2, 5, 6))
    x = builder.add("conv", L.Conv(out_channels=3, kernel_size=2, padding=((1, 0), (0, 1)), bias=False), x)
    x = builder.add("norm", L.BatchNorm(running_variance="biased"), x)
    graph = builder.build(builder.add("relu", L.ReLU(), x))
    drawn = draw(graph, "tiny")
    wanted = results(loaded("numpy"), graph, ProgramOptions("reference", precision("float64"), training=True), drawn)
    result = results(loaded(name), graph, ProgramOptions("compile", precision("float64"), training=True), drawn)
    assert worst(result, wanted)[0] < 1e-13, worst(result, wanted)
