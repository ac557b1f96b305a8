"""What stands in for what Inductor gets wrong: values and derivatives from tiny arguments to huge ones, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.padding import Pad

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

SIZES = 10.0 ** np.arange(-30, 2.01, 0.25)
ANY = np.concatenate([-SIZES[::-1], [0.0], SIZES])
WITHIN_ONE = np.concatenate([ANY[np.abs(ANY) < 1], [-1 + 2.0**-20, 1 - 2.0**-20]])


def erf_derivative(x: float) -> float:
    return 2 / math.sqrt(math.pi) * math.exp(-x * x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("function", "exact", "derivative", "points"),
    [
        ("expm1", math.expm1, math.exp, np.concatenate([ANY[ANY < 80], [-1000.0, -math.inf]])),
        ("atanh", math.atanh, lambda x: 1 / ((1 - x) * (1 + x)), WITHIN_ONE),
        ("erf", math.erf, erf_derivative, ANY[np.abs(ANY) < 9]),
    ],
)
def test_value_and_derivative_are_right_to_a_few_roundings(monkeypatch, function, exact, derivative, points, dtype):
    from cnnbench_torch.ops import inductor

    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    x = torch.tensor(points, dtype=getattr(torch, dtype), requires_grad=True)
    y = getattr(inductor, function)(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    info = np.finfo(dtype)
    for found, formula in ((y, exact), (slope, derivative)):
        expected = np.array([formula(point) for point in x.tolist()])
        error = np.abs(found.detach().double().numpy() - expected)
        # a derivative exp(-x * x) inherits the rounding of x * x
        roundings = 6 + points**2 if formula is erf_derivative else 6
        limit = info.eps * np.abs(expected) * roundings
        assert np.all(error <= limit + 4 * float(info.tiny)), points[error > limit]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_gradient_of_a_selection_adds_up_what_was_taken_more_than_once(monkeypatch, axis):
    from cnnbench_torch.ops import inductor

    index = torch.tensor([0, 2, 2, 1, 2])
    x = torch.arange(27.0).reshape(3, 3, 3).requires_grad_()
    cotangent = torch.arange(45.0).reshape([5 if i == axis else 3 for i in range(3)])
    plain = x.index_select(axis, index)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    found = inductor.index_select(x, axis, index)
    assert torch.equal(found, plain)
    pair = [torch.autograd.grad(y, x, cotangent)[0] for y in (found, plain)]
    assert torch.equal(*pair)


@pytest.mark.slow
def test_images_in_channels_last_are_padded_with_their_edge():
    builder = Builder("padded")
    x = builder.input("x", (4, 8, 10))
    graph = builder.build(builder.add("pad", Pad(padding=((0, 0), (1, 2), (2, 1)), mode="edge"), x))
    found = []
    for mode in ("eager", "compile"):
        options = ProgramOptions(mode, precision("float32"), "channels_last", training=True)
        draw = np.random.default_rng(0)
        batch = {"x": draw.normal(size=(2, 4, 8, 10)), "gradient.output": draw.normal(size=(2, 4, 11, 13))}
        batch = {name: value.astype(np.float32) for name, value in batch.items()}
        found.append(InProcessSubject(load_backend("torch")).gradient(graph, {}, batch, options).inputs["x"])
    np.testing.assert_array_equal(*found)


def test_atanh_of_one_is_infinite_and_beyond_it_not_a_number(monkeypatch):
    from cnnbench_torch.ops import inductor

    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert inductor.atanh(torch.tensor([1.0, -1.0])).tolist() == [math.inf, -math.inf]
    assert torch.isnan(inductor.atanh(torch.tensor([1.5, -1.5]))).all()
