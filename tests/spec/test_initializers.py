"""Initialisers by name: exact variances, and the distributions that the frameworks themselves draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from cnnbench.errors import SpecError
from cnnbench.registry import build
from cnnbench.spec.graph import Builder
from cnnbench.spec.initializers import CUT_DEVIATION, initialize_as, known_initializer, named_initializers
from cnnbench.spec.layers import Conv, Linear
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.weights import initialize

LEAST_P = 1e-3  # seeded: the tests give the same each time


def graph_of(layer, shape):
    builder = Builder("one")
    return builder.build(builder.add("layer", layer, builder.input("x", shape)))


CONV = graph_of(Conv(out_channels=64, kernel_size=(3, 5), groups=2), (32, 8, 8))  # (64, 16, 3, 5)
LINEAR = graph_of(Linear(out_features=200), (300,))
# Inputs that meet in an output, outputs that an input reaches: counted by hand.
FANS = {"conv": (16 * 15, 32 * 15), "linear": (300, 200)}
GRAPHS = {"conv": CONV, "linear": LINEAR}
VARIANCES = {
    "xavier_uniform": lambda i, o: 2 / (i + o),
    "xavier_normal": lambda i, o: 2 / (i + o),
    "he_uniform_fan_in": lambda i, o: 2 / i,
    "he_uniform_fan_out": lambda i, o: 2 / o,
    "he_normal_fan_in": lambda i, o: 2 / i,
    "he_normal_fan_out": lambda i, o: 2 / o,
    "truncated_normal": lambda i, o: (0.02 * CUT_DEVIATION) ** 2,
}


def kernel(graph, name, seed=0):
    return initialize_as(graph, seed, name)["layer.weight"].astype(np.float64).ravel()


def in_units(values, name, variance):
    """The values as they would be with variance 1, and the distribution that they then have."""
    if "uniform" in name:
        return values / math.sqrt(3 * variance), "uniform", (-1, 2)
    if name == "truncated_normal":
        return values / 0.02, "truncnorm", (-2, 2)
    return values / math.sqrt(variance), "norm", ()


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("name", VARIANCES)
def test_a_rule_has_its_papers_variance_and_distribution(name, kind):
    variance = VARIANCES[name](*FANS[kind])
    values = kernel(GRAPHS[kind], name)
    # The variance of the sample variance of n numbers is at most 2 variance^2 / n: five of its deviations.
    assert values.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / values.size))
    assert abs(values.mean()) < 5 * math.sqrt(variance / values.size)
    assert kstest(*in_units(values, name, variance)).pvalue > LEAST_P
    other = in_units(1.05 * values, name, variance)
    assert kstest(*other).pvalue < LEAST_P, "a deviation that is 5 % wrong must show"
    assert not initialize_as(GRAPHS[kind], 0, name)["layer.bias"].any()


def test_the_cut_distribution_has_the_deviation_that_it_is_said_to_have():
    from scipy.stats import truncnorm

    assert truncnorm(-2, 2).std() == pytest.approx(CUT_DEVIATION, rel=1e-9)
    assert np.abs(kernel(LINEAR, "truncated_normal")).max() <= np.float32(0.04)


@pytest.mark.parametrize(
    "graph", [CONV, LINEAR, graph_of(Linear(out_features=300), (200,))], ids=["conv", "wide", "tall"]
)
def test_orthogonal_kernels_have_orthonormal_rows_or_columns(graph):
    found = initialize_as(graph, 0, "orthogonal")["layer.weight"].astype(np.float64)
    flat = found.reshape(found.shape[0], -1)
    product = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-6)
    assert abs(flat.mean()) < 5 / flat.size**0.5 * flat.std()


def torch_layers():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return {
        "conv": (torch.nn.Conv2d(32, 64, (3, 5), groups=2), CONV),
        "linear": (torch.nn.Linear(300, 200), LINEAR),
        "depthwise": (
            torch.nn.Conv2d(512, 1024, 3, groups=512),
            graph_of(Conv(out_channels=1024, kernel_size=3, groups=512), (512, 8, 8)),
        ),
        "transposed": (
            torch.nn.ConvTranspose2d(24, 60, 3, groups=2),
            graph_of(ConvTranspose(out_channels=60, kernel_size=3, groups=2), (24, 4, 4)),
        ),
    }


@pytest.mark.parametrize("kind", ["conv", "linear", "depthwise", "transposed"])
def test_torch_default_draws_as_pytorchs_layers_do(kind):
    layer, graph = torch_layers()[kind]
    ours = initialize_as(graph, 1, "torch_default")
    for name, tensor in layer.named_parameters():
        theirs = tensor.detach().numpy().ravel()
        assert ours[f"layer.{name}"].shape == tuple(tensor.shape)
        assert kstest(ours[f"layer.{name}"].ravel(), theirs).pvalue > LEAST_P
    others = {"he_uniform_fan_in", "xavier_uniform", "keras_default", "flax_default"}
    theirs = layer.weight.detach().numpy().ravel()
    assert all(kstest(kernel(graph, name), theirs).pvalue < LEAST_P for name in others)


def keras_layers():
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    depthwise = Conv(out_channels=768, kernel_size=3, groups=256)
    return {
        "conv": (keras.layers.Conv2D(64, (3, 5), groups=2), (8, 8, 32), CONV),
        "linear": (keras.layers.Dense(200), (300,), LINEAR),
        "depthwise": (
            keras.layers.DepthwiseConv2D(3, depth_multiplier=3),
            (8, 8, 256),
            graph_of(depthwise, (256, 8, 8)),
        ),
        "transposed": (
            keras.layers.Conv2DTranspose(60, 3),
            (4, 4, 24),
            graph_of(ConvTranspose(out_channels=60, kernel_size=3), (24, 4, 4)),
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["conv", "linear", "depthwise", "transposed"])
def test_keras_default_draws_as_keras_layers_do(kind):
    layer, shape, graph = keras_layers()[kind]
    layer.build((None, *shape))
    kernels, bias = (np.asarray(weight) for weight in layer.get_weights())
    assert kernels.size == kernel(graph, "keras_default").size
    assert kstest(kernel(graph, "keras_default"), kernels.ravel()).pvalue > LEAST_P
    assert kstest(kernel(graph, "torch_default"), kernels.ravel()).pvalue < LEAST_P
    assert not bias.any()
    assert not initialize_as(graph, 0, "keras_default")["layer.bias"].any()


@pytest.mark.parametrize(
    ("graph", "shape"),
    [
        (CONV, (3, 5, 16, 64)),
        (LINEAR, (300, 200)),
        (graph_of(ConvTranspose(out_channels=60, kernel_size=3), (24, 4, 4)), (3, 3, 24, 60)),
    ],
    ids=["conv", "linear", "transposed"],
)
def test_flax_default_draws_as_jax_does_for_flaxs_kernels(graph, shape):
    """Flax's layers have ``lecun_normal`` of jax.nn.initializers for kernels of this shape, and biases of 0."""
    jax = pytest.importorskip("jax")
    theirs = np.asarray(jax.nn.initializers.lecun_normal()(jax.random.key(0), shape)).ravel()
    assert kstest(kernel(graph, "flax_default"), theirs).pvalue > LEAST_P
    assert kstest(kernel(graph, "he_normal_fan_in"), theirs).pvalue < LEAST_P


@pytest.mark.parametrize("name", named_initializers())
def test_all_else_starts_as_its_layer_says_and_each_seed_draws_anew(name):
    graph = build("simple_cnn", image=(3, 16, 16))
    found, usual = initialize_as(graph, 3, name), initialize(graph, 3)
    assert found.keys() == usual.keys()
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    changed = {key for key in usual if not np.array_equal(found[key], usual[key])}
    kernels = {key for key in usual if usual[key].ndim > 1}
    assert changed <= kernels | {key.replace("weight", "bias") for key in kernels}
    same = {"he_normal_fan_out": kernels - {"fc.weight"}, "torch_default": {"fc.weight"}}  # what layers say themselves
    assert kernels - changed == same.get(name, set())
    again = initialize_as(graph, 3, name)
    assert all(np.array_equal(found[key], again[key]) for key in found)
    other = initialize_as(graph, 4, name)
    assert all(not np.array_equal(found[key], other[key]) for key in kernels)


def test_an_unknown_rule_is_refused_with_the_nearest_name():
    with pytest.raises(SpecError, match="xavier_normal"):
        known_initializer("xavier_norm")
    with pytest.raises(SpecError, match="unknown"):
        initialize_as(LINEAR, 0, "lsuv")
    assert known_initializer("lsuv") == "lsuv"
