"""DenseNet-121 of torchvision in keras.applications: converted, proven the same, and broken by one field."""

from __future__ import annotations

import pytest

import cnnbench
from cnnbench.face.networks import load_examined
from cnnbench.porting.report import lines

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

NETS = """
import cnnbench, keras
def made(epsilon=1e-5, odd=None):
    model = keras.applications.DenseNet121(weights=None, input_shape=(64, 64, 3), classifier_activation=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = 1e-3 if layer.name == odd else epsilon
    source = cnnbench.load("densenet121", WEIGHTS, image=(3, 64, 64))  # torchvision's names, numbers and layouts
    return cnnbench.convert_weights(source, model)
def right(): return made()
def as_it_comes(): return made(1.001e-5)
def broken(): return made(odd="conv3_block1_1_bn")
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(the reference, the file of the ports)."""
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("pair")
    model = load_examined("densenet121", image=(3, 64, 64))
    model.save(folder / "weights.safetensors")
    file = folder / "keras_nets.py"
    file.write_text(f"WEIGHTS = {str(folder / 'weights.safetensors')!r}\n{NETS}")
    return model, file


def test_the_converted_port_is_the_same_network(pair):
    model, file = pair
    result = cnnbench.port(model, f"{file}:right")
    assert result.same, lines(result)
    assert result.aligned > 400
    assert not any(item.what == "weight" for item in result.differences)
    left = {item.name for item in result.differences}  # Keras' defaults, which --train counts
    assert left == {"momentum", "running_variance"}


def test_the_epsilon_of_keras_applications_is_found(pair):
    model, file = pair
    result = cnnbench.port(model, f"{file}:as_it_comes")
    assert {item.name for item in result.counted} == {"eps"}
    assert {item.candidate for item in result.counted} == {"1.001e-05"}
    assert len(result.counted) == 121
    assert result.exit_code == 4


def test_one_broken_field_is_found_at_its_node(pair):
    model, file = pair
    result = cnnbench.port(model, f"{file}:broken")
    (item,) = result.counted
    assert (item.node, item.other, item.name) == (
        "features.denseblock2.denselayer1.norm2",
        "conv3_block1_1_bn",
        "eps",
    )
    assert result.parting.node == item.node
