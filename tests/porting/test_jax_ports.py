"""A module of PyTorch beside its port to JAX: the same, and with one stride that differs."""

from __future__ import annotations

import pytest

import cnnbench

pytest.importorskip("torch")
pytest.importorskip("jax")
pytestmark = [pytest.mark.torch, pytest.mark.jax]

THEIRS = """
import torch
from torch import nn
def net():
    torch.manual_seed(0)
    parts = {"conv1": nn.Conv2d(3, 4, 3, padding=1), "bn1": nn.BatchNorm2d(4), "relu1": nn.ReLU(),
             "conv2": nn.Conv2d(4, 6, 3, stride=2, padding=1), "act": nn.GELU(), "pool": nn.AdaptiveAvgPool2d(1),
             "flat": nn.Flatten(), "fc": nn.Linear(6, 5)}
    module = nn.Sequential()
    for name, part in parts.items():
        module.add_module(name, part)
    nn.init.uniform_(module.bn1.running_var, 0.5, 1.5)
    nn.init.uniform_(module.bn1.weight, 0.5, 1.5)
    return module.eval(), (3, 9, 9)
"""
OURS = """
import jax
from jax import lax
from torch_nets import net as theirs
ORDER = ("NHWC", "HWIO", "NHWC")
def parameters():
    arrays = {name: item.numpy() for name, item in theirs()[0].state_dict().items()}
    conv = {name: {"kernel": arrays[name + ".weight"].transpose(2, 3, 1, 0), "bias": arrays[name + ".bias"]}
            for name in ("conv1", "conv2")}
    roles = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    norm = {ours: arrays["bn1." + role] for ours, role in roles.items()}
    return {**conv, "bn1": norm, "fc": {"kernel": arrays["fc.weight"].T, "bias": arrays["fc.bias"]}}
def conv(p, x, stride):
    made = lax.conv_general_dilated(x, p["kernel"], (stride, stride), ((1, 1), (1, 1)), dimension_numbers=ORDER)
    return made + p["bias"]
def network(stride):
    def apply(p, x):
        x = conv(p["conv1"], x, 1)
        x = (x - p["bn1"]["mean"]) * lax.rsqrt(p["bn1"]["var"] + 1e-5) * p["bn1"]["scale"] + p["bn1"]["bias"]
        x = jax.nn.gelu(conv(p["conv2"], jax.nn.relu(x), stride), approximate=False)
        return x.mean((1, 2)) @ p["fc"]["kernel"] + p["fc"]["bias"]
    return (apply, parameters()), (9, 9, 3)
def right():
    return network(2)
def wrong():
    return network(1)
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "torch_nets.py").write_text(THEIRS)
    (tmp_path / "jax_nets.py").write_text(OURS)
    return tmp_path


def test_a_right_port_to_jax_is_the_same(files):
    result = cnnbench.port(f"{files}/torch_nets.py:net", f"{files}/jax_nets.py:right")
    assert result.same, [item.text for item in result.differences]
    assert result.aligned == 7


def test_a_stride_that_differs_is_named(files):
    result = cnnbench.port(f"{files}/torch_nets.py:net", f"{files}/jax_nets.py:wrong")
    first, *rest = [(item.what, item.node, item.name) for item in result.counted]
    assert first == ("field", "conv2", "stride")
    assert rest == [("shape", "conv2", "shape"), ("shape", "act", "shape")]  # which follow from it
    assert result.exit_code == 4
