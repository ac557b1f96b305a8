"""Interpolation reads the pixels of its sample points alone: what lies beside them with weight 0 does not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.conformance.cases import layer_cases
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject

NAMES = [
    name
    for name, case in sorted(layer_cases().items())
    if name.partition("/")[0] in ("roi_align", "grid_sample", "resize") and case.layer.fields()["mode"] != "max"
]


def outputs(case, image, backend="numpy"):
    subject = InProcessSubject(loaded_backend(backend))
    batch = {**case.inputs, case.graph.inputs[0].name: image}
    found = subject.forward(case.graph, case.stored, batch, case.options).outputs
    return next(iter(found.values()))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("special", [np.nan, np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_a_pixel_that_is_not_finite_reaches_what_depends_on_it_and_nothing_else(name, special):
    case = layer_cases()[name].case(ProgramOptions("reference", precision("float64")))
    image = np.zeros(case.inputs[case.graph.inputs[0].name].shape, np.float64)
    for place in (0, image.size // 3, image.size - 1):
        one, bad = image.copy(), image.copy()
        one.reshape(-1)[place], bad.reshape(-1)[place] = 1.0, special
        depends = outputs(case, one) != 0  # the map is linear in the image
        np.testing.assert_array_equal(~np.isfinite(outputs(case, bad)), depends)


@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        pytest.param("torch", "eager", marks=pytest.mark.torch),
        pytest.param("jax", "jit", marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
    ],
)
def test_no_backend_makes_a_finite_number_of_a_largest_sample_that_is_infinite(backend, mode):
    pytest.importorskip(backend, reason=f"needs {backend}")
    case = layer_cases()["roi_align/max"].case(ProgramOptions("reference", precision("float32")))
    image = np.full_like(case.inputs[case.graph.inputs[0].name], np.inf)
    expected = outputs(case, image)
    assert np.isposinf(expected).any()
    got = outputs(replace(case, options=replace(case.options, mode=mode)), image, backend)
    assert not np.isfinite(got[~np.isfinite(expected)]).any()


@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        ("numpy", "reference"),
        pytest.param("torch", "eager", marks=pytest.mark.torch),
        pytest.param("jax", "jit", marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
    ],
)
def test_a_level_of_which_no_region_is_leaves_no_trace(backend, mode):
    pytest.importorskip(backend, reason=f"needs {backend}")
    case = layer_cases()["level_roi_align/three_levels"].case(ProgramOptions(mode, precision("float32")))
    boxes, levels, *features = (item.name for item in case.graph.inputs)
    other = {levels: np.where(case.inputs[levels] == 1, 2, case.inputs[levels]), features[1]: case.inputs[features[1]]}
    clean = replace(case, batch={**case.batch, **other})
    bad = replace(clean, batch={**clean.batch, features[1]: np.full_like(other[features[1]], np.nan)})
    found = [outputs(one, one.inputs[boxes], backend) for one in (clean, bad)]
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(*found)
