"""Activations and rearrangements that a model writes out are the library's layer; what is only near to them is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.porting.port import Side, compare_networks
from cnnbench.spec.graph import Builder
from cnnbench.spec.interchange.model_readers import GivenInputs
from cnnbench.spec.layers import GELU, HardSigmoid, HardSwish, Sigmoid, SiLU
from cnnbench.spec.layers.rearrange import ChannelShuffle, DepthToSpace, SpaceToDepth
from cnnbench.spec.layers.smooth import Mish

ROOT, FACTOR = math.sqrt(2), math.sqrt(2 / math.pi)
ACTIVATIONS = {
    "silu": SiLU(),
    "hard_swish": HardSwish(),
    "hard_swish_by_sigmoid": HardSwish(),
    "hard_sigmoid": HardSigmoid(),
    "gelu": GELU(),
    "gelu_tanh": GELU(form="tanh"),
    "gelu_tanh_by_products": GELU(form="tanh"),
    "silu_by_exp": SiLU(),
    "sigmoid": Sigmoid(),
    "mish": Mish(),
}
ORDERS = {
    "pixel_shuffle": (DepthToSpace(block=2, order="CRD"), (8, 3, 2)),
    "depth_to_space": (DepthToSpace(block=2, order="DCR"), (8, 3, 2)),
    "pixel_unshuffle": (SpaceToDepth(block=2, order="CRD"), (2, 4, 6)),
    "channel_shuffle": (ChannelShuffle(groups=3), (6, 2, 3)),
}


def written(name, x, f, *, near=False):
    """An activation as arithmetic; with another constant, or of another operand, where ``near``.

    Args:
        name: Of the activation.
        x: Its operand.
        f: The framework's functions.
        near: Whether it is to be another function.
    """
    if name == "silu":
        return x * f["sigmoid"](x + 1e-4 if near else x)
    if name == "hard_swish":
        return x * f["relu6"](x + 3) / (6.001 if near else 6)
    if name == "hard_swish_by_sigmoid":
        return x * (f["relu6"](x + (2.99 if near else 3)) / 6)
    if name == "hard_sigmoid":
        return f["relu6"](x + 3) * (0.1667 if near else 1 / 6)
    if name == "gelu":
        return 0.5 * x * (1 + f["erf"](x / (1.41421 if near else ROOT)))
    if name == "gelu_tanh":
        return 0.5 * x * (1 + f["tanh"](FACTOR * (x + (0.0447 if near else 0.044715) * x**3)))
    if name == "gelu_tanh_by_products":
        return 0.5 * x * (1 + f["tanh"]((0.79788 if near else FACTOR) * x * (1 + 0.044715 * x * x)))
    if name == "silu_by_exp":
        return x / (1 + f["exp"](-1.702 * x if near else -x))
    if name == "sigmoid":
        return 1 / ((1.0001 if near else 1) + f["exp"](-x))
    return x * f["tanh"](f["softplus"](2 * x if near else x))


def rearranged(name, x, *, near=False):
    """A rearrangement of a (N, C, H, W) array of NumPy's interface by views, in another order where ``near``."""
    n, c, h, w = x.shape
    if name == "pixel_shuffle":
        order = (0, 1, 4, 3, 5, 2) if near else (0, 1, 4, 2, 5, 3)
        return x.reshape(n, c // 4, 2, 2, h, w).transpose(order).reshape(n, c // 4, 2 * h, 2 * w)
    if name == "depth_to_space":
        order = (0, 3, 5, 1, 4, 2) if near else (0, 3, 4, 1, 5, 2)
        return x.reshape(n, 2, 2, c // 4, h, w).transpose(order).reshape(n, c // 4, 2 * h, 2 * w)
    if name == "pixel_unshuffle":
        order = (0, 1, 5, 3, 2, 4) if near else (0, 1, 3, 5, 2, 4)
        return x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(order).reshape(n, 4 * c, h // 2, w // 2)
    order = (0, 2, 1, 4, 3) if near else (0, 2, 1, 3, 4)
    groups = x.reshape(n, 3, c // 3, h, w).transpose(order)
    return groups.reshape(n, c, h, w)


def library(layer, shape):
    """The network of one layer alone."""
    builder = Builder("library")
    return Side("library", builder.build({"output": builder.add("layer", layer, builder.input("input", shape))}), {})


def verdict(layer, shape, read):
    candidate = Side("written", read.graph, read.arrays)
    return compare_networks(library(layer, shape), candidate)


def torch_read(function, shape):
    torch = pytest.importorskip("torch")
    from cnnbench_torch.models import read

    class Module(torch.nn.Module):
        def forward(self, x):
            return function(x)

    return read(Module(), GivenInputs((shape,)))


def torch_functions():
    torch = pytest.importorskip("torch")
    names = ("sigmoid", "erf", "tanh", "exp")
    found = {name: getattr(torch, name) for name in names}
    return {**found, "relu6": torch.nn.functional.relu6, "softplus": torch.nn.functional.softplus}


def jax_read(function, shape):
    pytest.importorskip("jax")
    from cnnbench_jax.models import read

    return read((lambda p, x: function(x), {}), GivenInputs((shape,)))


def jax_functions():
    jax = pytest.importorskip("jax")
    lax = {name: getattr(jax.lax, name) for name in ("erf", "tanh", "exp")}
    return {**lax, "sigmoid": jax.nn.sigmoid, "relu6": jax.nn.relu6, "softplus": jax.nn.softplus}


def keras_read(function, shape):
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    from cnnbench_tensorflow.models import read

    given = keras.Input(shape)
    return read(keras.Model(given, function(given)), GivenInputs())


def keras_functions():
    ops = pytest.importorskip("keras").ops
    return {name: getattr(ops, name) for name in ("sigmoid", "relu6", "erf", "tanh", "exp", "softplus")}


READERS = {
    "torch": pytest.param(torch_read, torch_functions, marks=pytest.mark.torch, id="torch"),
    "jax": pytest.param(jax_read, jax_functions, marks=pytest.mark.jax, id="jax"),
    "keras": pytest.param(keras_read, keras_functions, marks=pytest.mark.tensorflow, id="keras"),
}


@pytest.mark.parametrize(("reader", "functions"), READERS.values())
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_by_hand_is_the_layer_and_its_neighbour_is_not(name, reader, functions):
    f = functions()
    right = verdict(ACTIVATIONS[name], (5,), reader(lambda x: written(name, x, f), (5,)))
    assert right.same, [item.text for item in right.differences]
    wrong = verdict(ACTIVATIONS[name], (5,), reader(lambda x: written(name, x, f, near=True), (5,)))
    assert not wrong.same
    assert {item.what for item in wrong.counted} & {"kind", "missing", "extra", "field"}


@pytest.mark.parametrize(
    "reader", [pytest.param(torch_read, marks=pytest.mark.torch), pytest.param(jax_read, marks=pytest.mark.jax)]
)
@pytest.mark.parametrize("name", ORDERS)
def test_a_rearrangement_by_views_is_the_layer_and_another_order_is_not(name, reader):
    layer, shape = ORDERS[name]

    def of(near):
        def function(x):
            return rearranged(name, Views(x) if reader is torch_read else x, near=near)

        return lambda x: getattr(function(x), "tensor", None) if reader is torch_read else function(x)

    right = verdict(layer, shape, reader(of(False), shape))
    assert right.same, [item.text for item in right.differences]
    if shape[1:] == (3, 2) or name != "pixel_shuffle":
        assert not verdict(layer, shape, reader(of(True), shape)).same


class Views:
    """A tensor of PyTorch with NumPy's ``transpose``."""

    def __init__(self, tensor):
        self.tensor, self.shape = tensor, tensor.shape

    def reshape(self, *shape):
        return Views(self.tensor.reshape(*shape))

    def transpose(self, order):
        return Views(self.tensor.permute(*order))


def onnx_side(nodes, constants, shape):
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    import cnnbench

    kinds = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], **fields) for op, inputs, output, fields in nodes],
        "written",
        [helper.make_tensor_value_info("x", kinds, ("N", *shape))],
        [helper.make_tensor_value_info("y", kinds, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), cnnbench


@pytest.mark.parametrize(("root", "same"), [(ROOT, True), (1.41421, False)], ids=["exact", "near"])
def test_a_gelu_of_a_file_whose_constants_are_float32_is_the_layer(root, same, tmp_path):
    onnx = pytest.importorskip("onnx")
    constants = {"root": np.float32(root), "one": np.float32(1), "half": np.float32(0.5)}
    nodes = [("Div", ["x", "root"], "a", {}), ("Erf", ["a"], "b", {}), ("Add", ["b", "one"], "c", {}),
             ("Mul", ["x", "c"], "d", {}), ("Mul", ["d", "half"], "y", {})]  # fmt: skip
    model, cnnbench = onnx_side(nodes, constants, (5,))
    onnx.save(model, tmp_path / "gelu.onnx")
    loaded = cnnbench.load(tmp_path / "gelu.onnx")
    result = compare_networks(library(GELU(), (5,)), Side("file", loaded.graph, loaded.arrays))
    assert result.same == same, [item.text for item in result.differences]


@pytest.mark.torch
def test_a_trained_factor_that_is_1_now_stays():
    torch = pytest.importorskip("torch")
    from cnnbench_torch.models import read

    class Swish(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.beta = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * torch.sigmoid(self.beta * x)

    assert not verdict(SiLU(), (5,), read(Swish(), GivenInputs(((5,),)))).same


@pytest.mark.tensorflow
def test_a_pixel_shuffle_with_channels_last_is_the_layer():
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")

    def shuffled(x, order):
        x = keras.layers.Reshape((3, 2, 2, 2, 2))(x)  # H, W, and the channels by their block and number
        return keras.layers.Reshape((6, 4, 2))(keras.layers.Permute(order)(x))

    layer = DepthToSpace(block=2, order="DCR")
    for order, same in (((1, 3, 2, 4, 5), True), ((1, 4, 2, 3, 5), False)):
        read = keras_read(lambda x, order=order: shuffled(x, order), (3, 2, 8))
        assert verdict(layer, (8, 3, 2), read).same == same
