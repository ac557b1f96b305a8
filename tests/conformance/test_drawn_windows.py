"""Convolutions and poolings drawn at random, on every backend: local, exact and gradient checks.

Several layers are drawn at once and stand side by side in one graph, so that a compiler runs once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from cnnbench.conformance.cases import LayerCase, side_by_side
from cnnbench.errors import SpecError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.layers import AvgPool, Conv, MaxPool, Shape
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.pooling import AdaptiveAvgPool, MinPool
from cnnbench.spec.layers.power_pooling import LpPool

MODES = {"numpy": "fast", "torch": "eager", "jax": "jit", "tensorflow": "graph"}
FEW = {"numpy": 10, "torch": 4, "jax": 1, "tensorflow": 2}
MANY = {"numpy": 150, "torch": 60, "jax": 10, "tensorflow": 10}


def _windows(draw: Callable[[Any], Any], axes: int) -> dict[str, Any]:
    def each(least: int, most: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(least, most)) for _ in range(axes))

    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes))
    padding = draw(st.sampled_from([padding, padding, "same", "same_lower"]))
    return {"kernel_size": each(1, 3), "stride": each(1, 4), "dilation": each(1, 2), "padding": padding}


@st.composite
def cases(draw: Callable[[Any], Any]) -> LayerCase:
    """One layer on images of one to three axes, some of size one."""
    axes = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 2))
    image: Shape = (channels, *(draw(st.integers(1, 7)) for _ in range(axes)))
    fields = _windows(draw, axes)
    kind = draw(st.sampled_from(["conv", "conv_transpose", "max", "min", "avg", "lp", "adaptive"]))
    out = groups * draw(st.integers(1, 3))
    if kind == "conv":
        layer: Any = Conv(out_channels=out, groups=groups, flip_kernel=draw(st.booleans()), **fields)
    elif kind == "conv_transpose":
        extra = 0 if isinstance(fields["padding"], str) else draw(st.integers(0, 3))
        layer = ConvTranspose(out_channels=out, groups=groups, output_padding=extra, **fields)
    elif kind == "adaptive":
        layer = AdaptiveAvgPool(output_size=tuple(draw(st.integers(1, 5)) for _ in range(axes)))
    else:
        fields["ceil_mode"] = draw(st.booleans())
        if kind == "avg":
            fields["dilation"] = 1
        layer = {"max": MaxPool, "min": MinPool, "avg": AvgPool, "lp": LpPool}[kind](**fields)
    try:
        layer.resolve(((1, *image),)).output_shapes(((1, *image),))
    except SpecError:
        reject()
    return LayerCase(layer, (image,))


def _hold(load: Callable[[str], Any], name: str, examples: int, *, derandomize: bool) -> None:
    subject = InProcessSubject(load(name))
    options = ProgramOptions(MODES[name], precision("float32"))

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(st.lists(cases(), min_size=4, max_size=8))
    def holds(drawn: list[LayerCase]) -> None:
        outcomes = run_checks(("local", "exact", "gradient"), subject, side_by_side(drawn, options))
        layers = "\n".join(str(item) for item in drawn)
        assert [o.message for o in outcomes if o.status == "failed"] == [], layers

    holds()


NAMED = [pytest.param(name, marks=[] if name == "numpy" else [getattr(pytest.mark, name)]) for name in MODES]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMED)
def test_drawn_layers_are_within_budget(load, name):
    _hold(load, name, FEW[name], derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMED)
def test_many_drawn_layers_are_within_budget(load, name):
    _hold(load, name, MANY[name], derandomize=False)
