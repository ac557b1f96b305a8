"""Weights of one framework's model in another's: the converted model is the same network, and nothing is left over."""

from __future__ import annotations

import numpy as np
import pytest

import cnnbench
from cnnbench.errors import SpecError
from cnnbench.testing import assert_same_network

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


class Net(torch.nn.Module):
    """Two convolutions, of which one is depthwise, a norm, and a linear layer behind a flattening."""

    def __init__(self, channels=6, bias=True, norm=True):
        super().__init__()
        nn = torch.nn
        self.conv = nn.Conv2d(3, channels, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.fc = nn.Linear(channels * 25, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.depthwise(torch.relu(self.norm(self.conv(x))))).flatten(1))


def made(seed, **how):
    torch.manual_seed(seed)
    found = Net(**how)
    for item in found.norm.buffers():
        if item.is_floating_point():
            torch.nn.init.uniform_(item, 0.5, 1.5)
    return found.eval()


def graph_of(module):
    from cnnbench.face.foreign_models import network_of

    return cnnbench.Model(*network_of(module, np.zeros((1, 3, 5, 5), "float32")))


def test_a_module_takes_the_weights_and_statistics_of_another():
    source, target = made(0), made(1)
    converted = cnnbench.convert_weights(graph_of(source), target)
    for name, item in source.state_dict().items():
        assert torch.equal(item, converted.state_dict()[name]), name
    assert not torch.equal(target.conv.weight, source.conv.weight)  # which is left as it was


def test_a_bias_that_the_reference_lacks_is_0_and_one_that_would_be_lost_is_refused():
    source, target = made(0, bias=False), made(1)
    converted = cnnbench.convert_weights(graph_of(source), target)
    assert not converted.conv.bias.any()
    with pytest.raises(SpecError, match="do not have the same arrays"):
        cnnbench.convert_weights(graph_of(target), source)


def test_a_layer_without_counterpart_is_refused_and_named():
    with pytest.raises(SpecError, match="no counterpart") as error:
        cnnbench.convert_weights(graph_of(made(0)), made(1, norm=False))
    assert error.value.received == "norm"
    with pytest.raises(SpecError, match=r"do not have the same arrays|no counterpart"):
        cnnbench.convert_weights(graph_of(made(0)), made(1, channels=8))


def test_a_weight_that_the_model_computes_is_refused():
    class Scaled(Net):
        def forward(self, x):
            x = torch.relu(self.norm(torch.nn.functional.conv2d(x, 0.3 * self.conv.weight, self.conv.bias, padding=1)))
            return self.fc(torch.relu(self.depthwise(x)).flatten(1))

    with pytest.raises(SpecError, match="computes a weight from others"):
        cnnbench.convert_weights(graph_of(made(0)), Scaled().eval())


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_keras_model_takes_a_modules_weights():
    """Kernels are moved, the depthwise one reshaped, and the linear layer's rows reordered."""
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    layers = keras.layers
    x = inputs = keras.Input((5, 5, 3))
    x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5)(layers.Conv2D(6, 3, padding="same")(x)))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same")(x))
    model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))
    source = made(0)
    converted = cnnbench.convert_weights(graph_of(source), model)
    image = np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype("float32")
    with torch.no_grad():
        expected = source(torch.from_numpy(image)).numpy()
    found = np.asarray(converted(image.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert_same_network(converted, source, image)


@pytest.mark.jax
@pytest.mark.slow
def test_a_jax_function_takes_a_modules_weights():
    pytest.importorskip("jax")
    from jax import lax, nn
    from jax import numpy as jnp

    def conv(p, x, groups=1):
        order = ("NHWC", "HWIO", "NHWC")
        found = lax.conv_general_dilated(x, p["w"], (1, 1), "SAME", dimension_numbers=order, feature_group_count=groups)
        return found + p["b"]

    def apply(p, x):
        n = p["norm"]
        x = nn.relu((conv(p["conv"], x) - n["mean"]) * lax.rsqrt(n["var"] + 1e-5) * n["scale"] + n["bias"])
        x = nn.relu(conv(p["depthwise"], x, 6))
        return x.reshape(len(x), -1) @ p["fc"]["w"] + p["fc"]["b"]

    parameters = {
        "conv": {"w": jnp.ones((3, 3, 3, 6)), "b": jnp.ones(6)},
        "norm": {name: jnp.ones(6) for name in ("mean", "var", "scale", "bias")},
        "depthwise": {"w": jnp.ones((3, 3, 1, 6)), "b": jnp.ones(6)},
        "fc": {"w": jnp.ones((150, 4)), "b": jnp.ones(4)},
    }
    source = made(0)
    _, found = cnnbench.convert_weights(graph_of(source), (apply, parameters))
    image = np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype("float32")
    with torch.no_grad():
        expected = source(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(apply(found, image.transpose(0, 2, 3, 1)), expected, rtol=1e-4, atol=1e-5)
