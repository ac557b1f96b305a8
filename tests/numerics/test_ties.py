"""Ties: where gradients are a matter of choice, and that every choice lies within its hull and no fault does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.comparison import Place, compare
from cnnbench.numerics.faults import faulty_subject
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.numerics.rounding import Roundoff
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.numerics.ties import Backward, Hull, hull
from cnnbench.registry import layer_kinds
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, GlobalMaxPool, LeakyReLU, MaxPool, ReLU
from cnnbench.spec.layers.magnitude import LpNorm
from cnnbench.spec.layers.pooling import MinPool
from cnnbench.spec.layers.rectifier import HardSigmoid, HardSwish, PReLU, ReLU6
from cnnbench.spec.layers.reduction import Reduce, TopK

FLOAT32 = precision("float32")


def hull_of(layer, x, g=None, weights=()):
    """The hull of a layer alone, by default for cotangents of 1."""
    layer = layer.resolve((x.shape,))
    call = LayerCall(layer, (x,), weights)
    outputs = reference().forward(call).outputs
    cotangents = (np.ones(outputs[0].shape) if g is None else g, *(np.zeros(o.shape) for o in outputs[1:]))
    floats = tuple(c for c, o in zip(cotangents, outputs, strict=True) if o.dtype.kind == "f")
    exact = reference().gradient(call, floats).inputs[0]
    return hull(Backward(call, cotangents[0], exact), Roundoff.of(FLOAT32)), exact


def windows(layer, x):
    """The elements that each window sees, by the position of its output."""
    window, out = layer.window(), layer.output_shapes((x.shape,))[0]
    for c, i, j in np.ndindex(out[1:]):
        seen = []
        for p, q in np.ndindex(*window.kernel_size):
            row = i * window.stride[0] + p * window.dilation[0] - layer.padding[0][0]
            column = j * window.stride[1] + q * window.dilation[1] - layer.padding[1][0]
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                seen.append((0, c, row, column))
        yield (0, c, i, j), seen


@pytest.mark.parametrize(
    "layer",
    [
        MaxPool(kernel_size=2),
        MaxPool(kernel_size=3, stride=2, padding=1),
        MaxPool(kernel_size=3, stride=2, ceil_mode=True),
        MaxPool(kernel_size=2, dilation=2, stride=1),
        MinPool(kernel_size=3, stride=2, padding=1),
    ],
)
def test_the_hull_of_windows_is_that_of_naive_loops(layer):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 4, (1, 2, 8, 7)).astype(float)
    layer = layer.resolve((x.shape,))
    g = generator.normal(size=layer.output_shapes((x.shape,))[0])
    tied, low, high = np.zeros(x.shape, bool), np.zeros(x.shape), np.zeros(x.shape)
    for place, seen in windows(layer, x):
        best = (min if isinstance(layer, MinPool) else max)(x[at] for at in seen)
        winners = [at for at in seen if x[at] == best]
        for at in winners:
            alone = len(winners) == 1
            tied[at] |= not alone
            low[at] += g[place] if alone else min(g[place], 0)
            high[at] += g[place] if alone else max(g[place], 0)
    found, exact = hull_of(layer, x, g)
    assert found.tied.tolist() == tied.tolist()
    assert np.allclose(found.low[tied], low[tied])
    assert np.allclose(found.high[tied], high[tied])
    assert np.all((exact >= found.low - 1e-12) & (exact <= found.high + 1e-12))


def test_corners_admit_what_lies_between_the_two_slopes():
    x = np.array([[[-3.0, -0.0, 1e-40, 3.0, 6.0, 1.0]]])
    for layer, corners, low, high, weights in (
        (ReLU(), [1, 2], 0, 1, ()),
        (LeakyReLU(negative_slope=1.5), [1, 2], 1, 1.5, ()),
        (PReLU(), [1, 2], -0.5, 1, (np.array([-0.5]),)),
        (ReLU6(), [1, 2, 4], 0, 1, ()),
        (HardSigmoid(slope=1 / 6), [0, 3], 0, 1 / 6, ()),
    ):
        found, _ = hull_of(layer, x, weights=weights)
        assert np.flatnonzero(found.tied).tolist() == corners, layer
        assert np.allclose(found.low[0, 0, corners], low)
        assert np.allclose(found.high[0, 0, corners], high)
    found, _ = hull_of(HardSwish(), x)
    assert (found.low[0, 0, 0], found.high[0, 0, 0]) == (-0.5, 0)
    assert (found.low[0, 0, 3], found.high[0, 0, 3]) == (1, 1.5)
    assert hull_of(Conv(out_channels=1, kernel_size=1), x, weights=(np.ones((1, 1, 1)), np.ones(1)))[0] is None


def test_extremes_share_their_gradient_and_conserve_it():
    x = np.array([[[1.0, 0.0, 1.0], [3.0, 2.0, -0.0]]])
    g = np.array([[2.0, -1.0]])
    for layer in (GlobalMaxPool(), Reduce(function="max", axes=(2,), keepdims=False)):
        found, _ = hull_of(layer, x, g)
        assert found.tied.tolist() == [[[True, False, True], [False, False, False]]]
        assert (found.low[0, 0, 0], found.high[0, 0, 0], found.conserved) == (0, 2, (2,))
    found, _ = hull_of(TopK(k=1), x, np.array([[[2.0], [-1.0]]]))
    assert (found.low[0, 0, 2], found.high[0, 0, 2], found.conserved) == (0, 2, (2,))
    found, exact = hull_of(LpNorm(p=1, axis=2), x, np.array([[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]]))
    assert found.tied.tolist() == [[[False, True, False], [False, False, True]]]
    assert np.all(found.low <= exact)
    assert np.all(exact <= found.high)


def used(got, found, exact):
    budget = Budget(np.asarray(1e-6), np.asarray(1e-6))
    place = Place("node", "max_pool", Quantity.input_gradient(0))
    return compare(place, got.astype(np.float32), exact, budget, FLOAT32, found)


def test_any_choice_passes_and_what_no_choice_gives_fails():
    x = np.zeros((1, 1, 2, 2))
    g = np.array([[[[4.0]]]])
    found, exact = hull_of(MaxPool(kernel_size=2), x, g)
    for right in ([4, 0, 0, 0], [0, 0, 0, 4], [1, 1, 1, 1], [2, 0, 2, 0]):
        result = used(np.reshape(right, x.shape), found, exact)
        assert result.use.sharp_used <= 1, right
        assert result.at_ties == 4
    for wrong in ([4, 4, 4, 4], [0, 0, 0, 0], [5, -1, 0, 0], [2, 2, 2, 0], [np.nan, 4, 0, 0]):
        assert not used(np.reshape(wrong, x.shape), found, exact).use.sharp_used <= 1, wrong


def test_a_hull_survives_the_file_that_reproduces_a_failure(tmp_path):
    from cnnbench.numerics.replay import replay

    backend = loaded_backend("numpy")
    case = replace(pooled(MaxPool(kernel_size=2), "reference"), folder=tmp_path)
    subject = faulty_subject(backend, "max_pool.gradient_to_all_ties")
    (outcome,) = run_checks(["gradient"], subject, case)
    assert outcome.status == "failed"
    again = replay(tmp_path / "gradient-suspect.safetensors", subject)
    assert (again.status, again.node) == ("failed", "suspect")
    assert replay(tmp_path / "gradient-suspect.safetensors", InProcessSubject(backend)).status == "passed"


def pooled(layer, mode):
    """A network of one layer whose input has many ties."""
    builder = Builder("ties")
    graph = builder.build(builder.add("suspect", layer, builder.input("x", (3, 6, 8))))
    x = np.random.default_rng(1).integers(-1, 2, (2, 3, 6, 8)).astype(np.float32)
    return Case(graph, {}, {"x": x}, ProgramOptions(mode, FLOAT32))


def test_every_rule_contains_the_reference():
    """Of each kind that has ties, on data full of them, in the form of its example."""
    from cnnbench.numerics.ties import kinds_with_ties

    for kind in sorted(kinds_with_ties() - {"roi_max_pool", "top_k"}):
        layer = layer_kinds()[kind](**layer_kinds()[kind].example.fields)
        x = np.random.default_rng(2).integers(-1, 2, (2, 4, 6, 6)).astype(float)
        weights = tuple(np.full(spec.shape, 0.25) for spec in layer.resolve((x.shape,)).weights((x.shape,)))
        found, exact = hull_of(layer, x, weights=weights)
        if found is not None:
            inside = (exact >= found.low - 1e-12) & (exact <= found.high + 1e-12)
            assert inside[found.tied].all(), kind
            assert isinstance(found, Hull)
