"""Blocks of users' functions of JAX: batch norms, residuals, depthwise convolutions, transformers."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from cnnbench_jax.models import read  # noqa: E402
from jax import lax, nn  # noqa: E402
from jax import numpy as jnp  # noqa: E402
from jax_functions import conv, drawn, kinds, read_and_compared  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.spec.interchange.model_readers import GivenInputs  # noqa: E402

pytestmark = pytest.mark.jax


def norm_forms():
    """Five ways of writing a batch norm at inference."""

    def root(p):
        return lax.rsqrt(p["var"] + 1e-3)

    def folded(p, x):
        factor = p["scale"] * root(p)
        return x * factor + (p["bias"] - p["mean"] * factor)

    return {
        "rsqrt": lambda p, x: (x - p["mean"]) * root(p) * p["scale"] + p["bias"],
        "sqrt": lambda p, x: (x - p["mean"]) / jnp.sqrt(p["var"] + 1e-3) * p["scale"] + p["bias"],
        "factor": lambda p, x: (x - p["mean"]) * (root(p) * p["scale"]) + p["bias"],
        "reversed": lambda p, x: p["bias"] + p["scale"] * ((x - p["mean"]) * root(p)),
        "folded": folded,
    }


@pytest.mark.parametrize("form", norm_forms())
def test_a_batch_norm_at_inference_is_recognised(form):
    parameters = {"bn": drawn(dict.fromkeys(("scale", "bias", "mean", "var"), (4,)))}
    found = read_and_compared(lambda p, x: nn.relu(norm_forms()[form](p["bn"], x)), parameters, (5, 6, 4))
    assert kinds(found) == {"bn": "batch_norm", "relu": "relu"}
    assert found.graph.inputs[0].shape == (4, 5, 6)
    assert found.graph.nodes[0].layer.eps == 1e-3
    for role, name in (("weight", "scale"), ("bias", "bias"), ("running_mean", "mean"), ("running_var", "var")):
        np.testing.assert_array_equal(found.arrays[f"bn.{role}"], parameters["bn"][name])


def test_statistics_of_the_batch_are_no_batch_norm():
    def normalized(p, x):
        return (x - x.mean((0, 1, 2))) * p["scale"]

    with pytest.raises(SpecError, match="over the images of a batch"):
        read((normalized, drawn({"scale": (4,)})), GivenInputs(((5, 6, 4),)))


def test_a_residual_block():
    def block(p, x):
        y = nn.relu(norm_forms()["factor"](p["bn1"], conv(x, p["conv1"], stride=2)))
        y = norm_forms()["factor"](p["bn2"], conv(y, p["conv2"]))
        x = nn.relu(y + conv(x, p["shortcut"], stride=2))
        return x.mean((1, 2)) @ p["fc"]["w"] + p["fc"]["b"]

    norm = dict.fromkeys(("scale", "bias", "mean", "var"), (6,))
    kernels = {"conv1": (3, 3, 4, 6), "conv2": (3, 3, 6, 6), "shortcut": (1, 1, 4, 6)}
    parameters = drawn(
        {"bn1": norm, "bn2": norm, "fc": {"w": (6, 3), "b": (3,)}, **{k: {"kernel": s} for k, s in kernels.items()}}
    )
    found = read_and_compared(jax.jit(block), parameters, (8, 8, 4))
    layers = {node.name: node.layer for node in found.graph.nodes}
    assert [*layers] == ["conv1", "bn1", "relu", "conv2", "bn2", "shortcut", "add", "relu_1", "mean", "mean_view", "fc"]
    assert layers["conv1"].padding == ((0, 1), (0, 1))
    assert layers["mean"].kind == "global_avg_pool"


def test_a_depthwise_separable_block():
    def block(p, x):
        x = conv(x, p["depth"], feature_group_count=4)
        x = nn.relu6(conv(x, p["point"]))
        return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME") / 9

    parameters = drawn(
        {"depth": {"kernel": (3, 3, 1, 4), "bias": (4,)}, "point": {"kernel": (1, 1, 4, 6), "bias": (6,)}}
    )
    found = read_and_compared(block, parameters, (7, 8, 4))
    assert kinds(found) == {"depth": "conv", "point": "conv", "relu6": "relu6", "avg_pool": "avg_pool"}
    assert found.graph.nodes[0].layer.groups == 4
    assert found.graph.outputs[0][1] == "avg_pool"


def layer_norm(p, x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-6) * p["scale"] + p["bias"]


def attention(p, x):
    n, t, d = x.shape
    q, k, v = (x @ p[name]["w"] + p[name]["b"] for name in "qkv")
    q, k, v = (item.reshape(n, t, 2, d // 2).transpose(0, 2, 1, 3) for item in (q, k, v))
    weights = nn.softmax(jnp.einsum("bhqd,bhkd->bhqk", q, k) / np.sqrt(d // 2))
    x = jnp.einsum("bhqk,bhkd->bhqd", weights, v).transpose(0, 2, 1, 3).reshape(n, t, d)
    return x @ p["out"]["w"] + p["out"]["b"]


def vit(p, x):
    x = conv(x, p["patch"], stride=4, padding="VALID").reshape(x.shape[0], -1, 8)
    token = jnp.broadcast_to(p["token"], (x.shape[0], 1, 8))
    x = jnp.concatenate([token, x], 1) + p["positions"]
    x = x + attention(p["attention"], layer_norm(p["norm1"], x))
    y = nn.gelu(layer_norm(p["norm2"], x) @ p["mlp1"]["w"] + p["mlp1"]["b"], approximate=False)
    x = x + y @ p["mlp2"]["w"] + p["mlp2"]["b"]
    return nn.log_softmax(x[:, 0] @ p["head"]["w"])


def test_a_vision_transformer():
    norm, square = {"scale": (8,), "bias": (8,)}, {"w": (8, 8), "b": (8,)}
    parameters = drawn(
        {
            "patch": {"kernel": (4, 4, 3, 8), "bias": (8,)},
            "token": (1, 1, 8),
            "positions": (1, 5, 8),
            "norm1": norm,
            "norm2": norm,
            "attention": dict.fromkeys(("q", "k", "v", "out"), square),
            "mlp1": {"w": (8, 16), "b": (16,)},
            "mlp2": {"w": (16, 8), "b": (8,)},
            "head": {"w": (8, 3)},
        }
    )
    found = read_and_compared(jax.checkpoint(vit), parameters, (8, 8, 3))
    made = kinds(found)
    named = {"patch": "conv", "token": "parameter", "norm1": "layer_norm", "norm2": "layer_norm", "gelu": "gelu"}
    named |= {"attention.q": "linear", "softmax": "softmax", "log_softmax": "log_softmax", "mlp2": "linear"}
    assert named.items() <= made.items()
    assert "elementwise" not in made.values()
