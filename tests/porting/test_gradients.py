"""The gradients of ports: a value that is detached or a weight that is not trained is named, right ports are silent."""

from __future__ import annotations

import json

import numpy as np
import pytest

import cnnbench
from cnnbench.porting.messages import ReadRequest
from cnnbench.porting.port import Side, compare_networks
from cnnbench.porting.reading import OwnGradients, read_model
from cnnbench.porting.references import parse_reference
from cnnbench.porting.report import lines, to_html, to_json, to_markdown
from cnnbench.spec.weights import general_position

MODELS = {
    "torch": """
import torch
from torch import nn
from torch.nn import functional as F
class Net(nn.Module):
    def __init__(self, mistake):
        super().__init__()
        self.conv1, self.bn1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.fc, self.mistake = nn.Linear(100, 5), mistake
    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.conv2(x)
        x = x + (y.detach() if self.mistake == "branch" else y)
        if self.mistake == "no_grad":
            with torch.no_grad():
                return self.fc(x.flatten(1))
        return self.fc(x.flatten(1))
def made(mistake=""):
    torch.manual_seed(0)
    found = Net(mistake)
    for item in (found.bn1.weight, found.bn1.running_var):
        nn.init.uniform_(item, 0.5, 1.5)
    if mistake == "frozen":
        found.conv1.weight.requires_grad_(False)
    return found.eval(), (3, 5, 5)
def net(): return made()
def branch(): return made("branch")
def frozen(): return made("frozen")
def no_grad(): return made("no_grad")
""",
    "tensorflow": """
import keras
from keras import layers
from torch_nets import net as theirs
def made(frozen=""):
    x = inputs = keras.Input((5, 5, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv1", trainable=frozen != "conv1")(x)
    x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name="bn1")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Add(name="add")([x, layers.Conv2D(4, 1, name="conv2")(x)])
    x = layers.Dense(5, name="fc")(layers.Flatten(name="flat")(layers.Permute((3, 1, 2), name="first")(x)))
    model = keras.Model(inputs, x)
    arrays = {name: item.numpy() for name, item in theirs()[0].state_dict().items()}
    for name in ("conv1", "conv2"):
        kernel = arrays[name + ".weight"].transpose(2, 3, 1, 0)
        model.get_layer(name).set_weights([kernel, arrays[name + ".bias"]])
    roles = ("weight", "bias", "running_mean", "running_var")
    model.get_layer("bn1").set_weights([arrays["bn1." + role] for role in roles])
    model.get_layer("fc").set_weights([arrays["fc.weight"].T, arrays["fc.bias"]])
    return model
def net(): return made()
def frozen(): return made("conv1")
def frozen_later():
    model = made()
    model.get_layer("conv2").trainable = False
    return model
""",
    "jax": """
import jax
from jax import lax
from torch_nets import net as theirs
ORDER = ("NHWC", "HWIO", "NHWC")
def parameters():
    arrays = {name: item.numpy() for name, item in theirs()[0].state_dict().items()}
    found = {name: {"kernel": arrays[name + ".weight"].transpose(2, 3, 1, 0), "bias": arrays[name + ".bias"]}
             for name in ("conv1", "conv2")}
    roles = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    norm = {ours: arrays["bn1." + role] for ours, role in roles.items()}
    rows = arrays["fc.weight"].reshape(5, 4, 5, 5).transpose(2, 3, 1, 0).reshape(100, 5)
    return {**found, "bn1": norm, "fc": {"kernel": rows, "bias": arrays["fc.bias"]}}
def conv(p, x):
    return lax.conv_general_dilated(x, p["kernel"], (1, 1), "SAME", dimension_numbers=ORDER) + p["bias"]
def made(keep):
    def apply(p, x):
        n = p["bn1"]
        x = jax.nn.relu((conv(p["conv1"], x) - n["mean"]) * lax.rsqrt(n["var"] + 1e-5) * n["scale"] + n["bias"])
        x = x + keep(conv(p["conv2"], x))
        return x.reshape(len(x), -1) @ p["fc"]["kernel"] + p["fc"]["bias"]
    return (apply, parameters()), (5, 5, 3)
def net(): return made(lambda y: y)
def stopped(): return made(lax.stop_gradient)
""",
}
FILES = {"torch": "torch_nets.py", "tensorflow": "keras_nets.py", "jax": "jax_nets.py"}
FC, CONV2, CONV1 = ("fc", "bias"), ("conv2", "bias"), ("conv1", "weight")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(backend, function) -> the reference to a model of it, in files that are written once: what is read is kept."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("models")
    for backend, text in MODELS.items():
        (folder / FILES[backend]).write_text(text)

    def named(backend, function="net"):
        pytest.importorskip(backend)
        return f"{folder / FILES[backend]}:{function}"

    return named


def marked(backend, *values):
    marks = [pytest.mark.torch, *([getattr(pytest.mark, backend), pytest.mark.slow] if backend != "torch" else [])]
    return pytest.param(backend, *values, marks=marks, id=f"{backend} {values[0] if values else ''}".strip())


@pytest.mark.parametrize("backend", [marked("torch"), marked("tensorflow"), marked("jax")])
def test_the_gradients_of_a_right_port_agree(model, backend):
    result = cnnbench.port(model("torch"), model(backend), train=True)
    assert result.gradient_parting is None, lines(result)
    assert result.gradients == 9  # two for each of four layers, and the image's
    assert not [note for note in result.notes if "gradient" in note]
    assert "9 gradients agree" in lines(result)
    if backend != "tensorflow":  # Keras keeps the variance otherwise, which --train counts
        assert result.same, lines(result)


@pytest.mark.parametrize(
    ("backend", "function", "first", "number"),
    [
        marked("torch", "branch", CONV2, 7),
        marked("torch", "frozen", CONV1, 1),
        marked("torch", "no_grad", FC, 9),
        marked("tensorflow", "frozen", ("conv1", "bias"), 2),
        marked("tensorflow", "frozen_later", CONV2, 2),
        marked("jax", "stopped", CONV2, 7),
    ],
)
def test_a_gradient_that_does_not_flow_is_named_where_it_stops(model, backend, function, first, number):
    candidate = model(backend, function)
    result = cnnbench.port(model("torch"), candidate, train=True)
    assert result.parting is None  # which no comparison of values finds
    assert max(result.outputs.values()) < 1e-9
    item = result.gradient_parting
    assert item is not None
    assert (item.node, item.name, item.without, item.number) == (*first, "candidate", number)
    assert item.candidate == 0 != item.reference
    assert item.budgets > 1e3
    assert result.exit_code == 4
    back = cnnbench.port(candidate, model("torch"), train=True).gradient_parting
    assert (back.name, back.without, back.number) == (item.name, "reference", number)


@pytest.mark.torch
def test_two_models_that_detach_the_same_value_are_the_same(model):
    result = cnnbench.port(model("torch", "branch"), model("torch", "branch"), train=True)
    assert result.same, lines(result)


@pytest.mark.torch
def test_a_graph_beside_a_model_has_its_own_gradients(model):
    reference = model("torch")
    found = cnnbench.load(reference)
    assert cnnbench.port(found, reference, train=True).same
    result = cnnbench.port(found, model("torch", "branch"), train=True)
    assert (result.gradient_parting.node, result.gradient_parting.name) == CONV2


@pytest.mark.torch
def test_gradients_are_the_derivatives_of_the_model(model):
    """Against central differences of the outputs of its graph in float64."""
    read = read_model(ReadRequest(reference=parse_reference(model("torch")), batch=2, training=True))
    from cnnbench.porting.normal_form import PlainNetwork
    from cnnbench.porting.user_code import cotangents_of
    from cnnbench.porting.values_apart import values_of

    (cotangent,) = cotangents_of([array.shape for array in read.outputs.values()], 0)
    for name in ("conv1.weight", "bn1.weight", "fc.bias"):
        index = tuple(size // 2 for size in read.arrays[name].shape)
        values = []
        for step in (1e-4, -1e-4):
            arrays = {key: np.array(array, np.float64) for key, array in read.arrays.items()}
            arrays[name][index] += step
            plain = PlainNetwork(read.graph, arrays, {})
            made = values_of(plain, [read.inputs[item.name] for item in read.graph.inputs])
            values.append(float((made[read.graph.outputs[0][1]] * cotangent).sum()))
        slope = (values[0] - values[1]) / 2e-4
        np.testing.assert_allclose(read.gradients.weights[name][index], slope, rtol=1e-5)


def parted():
    """A network whose own gradient of one weight is half of the right one."""
    graph = cnnbench.build("lenet5")
    arrays = general_position(graph, 0)
    from cnnbench.porting.gradients_apart import gradients_of
    from cnnbench.porting.normal_form import normal_form
    from cnnbench.porting.port import BATCH
    from cnnbench.porting.values_apart import values_of
    from cnnbench.spec.draws import draw_inputs

    plain = normal_form(graph, arrays)
    inputs = [np.asarray(array, np.float64) for array in draw_inputs(graph, 0, BATCH, by_place=True).values()]
    right = gradients_of(plain, values_of(plain, inputs), 0)
    first = next(reversed(right.weights))
    own = OwnGradients(right.inputs, {**right.weights, first: right.weights[first] / 2})
    one, two = Side("theirs", graph, arrays), Side("<ours>", graph, arrays, gradients=own)
    return first, compare_networks(one, two, training=True)


def test_what_differs_is_in_every_report():
    first, result = parted()
    item = result.gradient_parting
    assert f"{item.node}.{item.name}" == first
    assert item.number == 1
    assert item.without == ""
    assert item.apart == pytest.approx(0.5)
    assert item.candidate == pytest.approx(item.reference / 2)
    data = json.loads(json.dumps(to_json(result), allow_nan=False))
    assert data["exit_code"] == 4
    assert data["first_gradient_parting"]["node"] == item.node
    assert data["gradients_compared"] == result.gradients
    text = f"1 of {result.gradients} gradients differ; the first from the outputs back: {item.name} of {item.node}"
    for page in ("\n".join(lines(result)), to_markdown(result), to_html(result)):
        assert text in page


def test_without_train_no_gradient_is_computed():
    graph = cnnbench.build("lenet5")
    side = Side("mine", graph, general_position(graph, 0))
    result = compare_networks(side, side)
    assert result.same
    assert result.gradients == 0
    assert "gradient" not in "\n".join(lines(result))


def test_gradients_wait_for_the_values_to_agree():
    graph = cnnbench.build("lenet5")
    one, two = (Side(f"{seed}", graph, general_position(graph, seed)) for seed in (0, 1))
    result = compare_networks(one, two, training=True)
    assert result.gradient_parting is None
    assert "gradients are not compared: the values differ already" in lines(result)
