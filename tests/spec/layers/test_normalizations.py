"""Normalisations and dropouts: shapes and weights by hand, values by plain loops, gradients of statistics elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import FrozenBatchNorm, StochasticDepth
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LocalResponseNorm, LpNorm, RMSNorm
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm

SHAPE = (2, 6, 3, 4)


def image(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(1.5, 2.0, shape)


def output(layer, x, *weights, **fields):
    resolved = layer.resolve((x.shape,))
    return reference().forward(LayerCall(resolved, (x,), weights, **fields)).outputs[0]


def plainly(values, eps, *, outside=False):
    """(v - mean) / sqrt(var + eps) of a list, term by term."""
    values = [float(v) for v in values]
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
    divisor = math.sqrt(variance) + eps if outside else math.sqrt(variance + eps)
    return [(v - mean) / divisor for v in values]


def test_layer_norm_is_over_the_trailing_axes():
    x = image((2, 5, 7))
    weight, bias = np.arange(1.0, 8.0), np.arange(7.0)
    y = output(LayerNorm(eps=0.1), x, weight, bias)
    for n, t in np.ndindex(2, 5):
        np.testing.assert_allclose(y[n, t], np.array(plainly(x[n, t], 0.1)) * weight + bias, rtol=1e-12)
    whole = output(LayerNorm(start_axis=1, affine=False), image())
    np.testing.assert_allclose(whole[1].ravel(), plainly(image()[1].ravel(), 1e-5), rtol=1e-11)


def test_group_norm_s_groups_are_neighbouring_channels():
    x, weight, bias = image(), np.arange(1.0, 7.0), np.arange(6.0)
    y = output(GroupNorm(groups=3, eps=0.01), x, weight, bias)
    for n, g in np.ndindex(2, 3):
        inner = np.array(plainly(x[n, 2 * g : 2 * g + 2].ravel(), 0.01)).reshape(2, 3, 4)
        for c in range(2):
            expected = inner[c] * weight[2 * g + c] + bias[2 * g + c]
            np.testing.assert_allclose(y[n, 2 * g + c], expected, rtol=1e-11, atol=1e-12)


def test_instance_norm_is_group_norm_with_a_group_for_each_channel():
    x = image()
    y = output(InstanceNorm(eps=0.01), x)
    np.testing.assert_allclose(y[1, 4].ravel(), plainly(x[1, 4].ravel(), 0.01), rtol=1e-11)
    np.testing.assert_allclose(y, output(GroupNorm(groups=6, eps=0.01, affine=False), x), rtol=1e-12)


def test_mean_variance_norm_by_loops_in_both_conventions():
    x = image()
    default = output(MeanVarianceNorm(eps=0.3), x)
    np.testing.assert_allclose(default[:, 2].ravel(), plainly(x[:, 2].ravel(), 0.3, outside=True), rtol=1e-11)
    inside = output(MeanVarianceNorm(axes=(1, 2, 3), eps=0.3, eps_place="inside"), x)
    np.testing.assert_allclose(inside[1].ravel(), plainly(x[1].ravel(), 0.3), rtol=1e-11)


@pytest.mark.parametrize("even_window", ["before", "after"])
@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("divided", [True, False])
def test_local_response_norm_by_loops(size, even_window, divided):
    """PyTorch's window is c - size // 2 to c + (size - 1) // 2, ONNX's c - (size - 1) // 2 to c + size // 2."""
    x = image()
    layer = LocalResponseNorm(
        size=size, alpha=0.3, beta=0.6, k=1.5, alpha_divided_by_size=divided, even_window=even_window
    )
    y = output(layer, x)
    before, after = (size // 2, (size - 1) // 2) if even_window == "before" else ((size - 1) // 2, size // 2)
    for n, c, i, j in np.ndindex(*SHAPE):
        window = range(max(c - before, 0), min(c + after, 5) + 1)
        total = sum(x[n, k, i, j] ** 2 for k in window)
        expected = x[n, c, i, j] / (1.5 + 0.3 / (size if divided else 1) * total) ** 0.6
        assert y[n, c, i, j] == pytest.approx(expected, rel=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_local_response_norm_s_defaults_are_pytorch_s(size):
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.local_response_norm(torch.from_numpy(image() * 50), size).numpy()
    np.testing.assert_allclose(output(LocalResponseNorm(size=size), image() * 50), expected, rtol=1e-12)


def test_rms_and_filter_response_norm_by_loops():
    x, weight, bias = image(), np.arange(1.0, 7.0), np.arange(6.0)
    y = output(FilterResponseNorm(eps=0.01), x, weight, bias)
    for n, c in np.ndindex(2, 6):
        square = math.fsum(float(v) ** 2 for v in x[n, c].ravel()) / 12
        np.testing.assert_allclose(y[n, c], x[n, c] / math.sqrt(square + 0.01) * weight[c] + bias[c], rtol=1e-12)
    tokens, gain = image((2, 5, 7)), np.arange(1.0, 8.0)
    z = output(RMSNorm(eps=0.01), tokens, gain)
    square = math.fsum(float(v) ** 2 for v in tokens[1, 3]) / 7
    np.testing.assert_allclose(z[1, 3], tokens[1, 3] / math.sqrt(square + 0.01) * gain, rtol=1e-12)


def test_lp_normalization_has_a_least_divisor_and_gives_0_for_zeros():
    x = np.array([[3.0, -4.0], [0.0, 0.0], [0.3, 0.4]])
    np.testing.assert_allclose(output(LpNorm(eps=1.0), x), [[0.6, -0.8], [0, 0], [0.3, 0.4]], rtol=1e-15)
    np.testing.assert_allclose(output(LpNorm(p=1), x[:1]), [[3 / 7, -4 / 7]], rtol=1e-15)


def test_a_frozen_batch_norm_is_fixed_in_training_and_trains_nothing():
    x = image()
    weight, bias, mean, variance = (np.arange(1.0, 7.0) + k for k in range(4))
    layer = FrozenBatchNorm(eps=0.5)
    for training in (False, True):
        y = output(layer, x, weight, bias, mean, variance, training=training)
        np.testing.assert_allclose(y[1, 2], (x[1, 2] - mean[2]) / math.sqrt(variance[2] + 0.5) * 3 + 4, rtol=1e-12)
    builder = Builder("net")
    graph = builder.build(builder.add("bn", layer, builder.input("image", SHAPE[1:])))
    assert [spec.name for spec in graph.named_weights()] == [
        f"bn.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    ]
    assert not any(spec.trainable for spec in graph.named_weights())
    assert not graph.named_state()


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (LayerNorm(), (2, 5, 7), {"weight": (7,), "bias": (7,)}),
        (LayerNorm(start_axis=1), SHAPE, {"weight": (6, 3, 4), "bias": (6, 3, 4)}),
        (LayerNorm(bias=False), (2, 5, 7), {"weight": (7,)}),
        (LayerNorm(affine=False), (2, 5, 7), {}),
        (InstanceNorm(), SHAPE, {}),
        (InstanceNorm(affine=True), SHAPE, {"weight": (6,), "bias": (6,)}),
        (GroupNorm(groups=2), SHAPE, {"weight": (6,), "bias": (6,)}),
        (RMSNorm(), (2, 5, 7), {"weight": (7,)}),
        (FilterResponseNorm(), SHAPE, {"weight": (6,), "bias": (6,)}),
        (LocalResponseNorm(), SHAPE, {}),
    ],
)
def test_weights(layer, shape, expected):
    resolved = layer.resolve((shape,))
    assert {spec.name: spec.shape for spec in resolved.weights((shape,))} == expected
    assert resolved.output_shapes((shape,)) == (shape,)
    assert resolved.macs((shape,), (shape,)) == 0


def test_masks_drop_rows_or_the_batch():
    shape = (5, 6, 3, 4)
    assert StochasticDepth(p=0.25).masks((shape,))[0].shape == (5, 1, 1, 1)
    assert StochasticDepth(p=0.25, mode="batch").masks((shape,))[0].shape == (1, 1, 1, 1)
    assert StochasticDepth(p=0.25).masks((shape,))[0].keep == 0.75
    assert StochasticDepth(p=0.0).masks((shape,)) == ()


def test_a_kept_branch_is_scaled_at_training_and_only_there():
    x = image((2, 3, 2, 2))
    mask = np.array([1.0, 0.0]).reshape(2, 1, 1, 1)
    y = output(StochasticDepth(p=0.2), x, masks=(mask,), training=True)
    np.testing.assert_allclose(y[0], x[0] / 0.8, rtol=1e-15)
    assert not y[1].any()
    np.testing.assert_array_equal(output(StochasticDepth(p=0.2), x), x)


@pytest.mark.parametrize(
    ("layer", "received", "expected"),
    [
        (LayerNorm(start_axis=0), "0", "1 to 3"),
        (LayerNorm(start_axis=4), "4", "-4 to 3"),
        (LayerNorm(eps=0.0), "0.0", "a positive number"),
        (InstanceNorm(eps=0.0), "0.0", "a positive number"),
        (GroupNorm(groups=4), "6 channels, groups 4", "a multiple of groups"),
        (GroupNorm(groups=0), "0", "an integer of at least 1"),
        (MeanVarianceNorm(axes=()), "()", "one axis or more"),
        (MeanVarianceNorm(axes=(1, -3)), "(1, -3)", "each once"),
        (MeanVarianceNorm(eps_place="between"), "'between'", "'outside', 'inside'"),
        (LocalResponseNorm(size=0), "0", "an integer of at least 1"),
        (LocalResponseNorm(even_window="left"), "'left'", "'before', 'after'"),
        (LocalResponseNorm(k=0.0), "0.0", "a positive k"),
        (RMSNorm(start_axis=-4), "-4", "1 to 3"),
        (FilterResponseNorm(eps=0.0), "0.0", "a positive number"),
        (LpNorm(p=3), "3", "1, 2"),
        (FrozenBatchNorm(eps=-1e-5), "-1e-05", "at least 0"),
        (StochasticDepth(p=1.0), "1.0", "below 1"),
        (StochasticDepth(mode="column"), "'column'", "'row', 'batch'"),
    ],
)
def test_an_error_names_the_node_what_was_received_and_what_would_be_right(layer, received, expected):
    builder = Builder("net")
    x = builder.input("image", SHAPE[1:])
    with pytest.raises(SpecError) as caught:
        builder.add("bad", layer, x)
    assert all(part in str(caught.value) for part in ("bad", received, expected)), caught.value
