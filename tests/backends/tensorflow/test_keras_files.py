"""Weights of Keras' applications: our network with them predicts what Keras does."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.registry import build, read_weights
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.interchange.weight_files import fit, match
from cnnbench.spec.layers import Conv, Flatten, Linear, ReLU

h5py = pytest.importorskip("h5py", reason="needs h5py, which TensorFlow brings")
pytestmark = pytest.mark.tensorflow
FORMATS = (".keras", ".h5", ".weights.h5")
SAME = {  # ours: Keras' class and the size of images on which both compute the same
    "resnet50_v1": ("ResNet50", 64),
    "densenet121": ("DenseNet121", 64),
    "mobilenet_v2": ("MobileNetV2", 65),  # of odd sizes, so that TensorFlow's padding is symmetric all the way
    "efficientnet_b0": ("EfficientNetB0", 65),
    "vgg16": ("VGG16", 224),
}
OTHER = {  # and where they do not, with what differs
    "mobilenet_v1": ("MobileNet", 64, "conv0.conv pads ((1, 1), (1, 1)) here, ((0, 1), (0, 1)) in the file"),
    "mobilenet_v2": ("MobileNetV2", 64, "features.0.0 pads ((1, 1), (1, 1)) here, ((0, 1), (0, 1)) in the file"),
    "efficientnet_b0": (
        "EfficientNetB0",
        64,
        "features.3.0.block.1.0 pads ((2, 2), (2, 2)) here, ((1, 2), (1, 2))",
    ),
    "inception_v3": ("InceptionV3", 299, "Mixed_5b.branch_pool.conv reads avg_pool[kernel 3x3]("),
}


def application(keras, name, size, classes=10):
    """Keras' network with every weight and statistic drawn anew, so that none goes unnoticed."""
    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=classes)
    generator = np.random.default_rng(1)
    drawn = []
    for variable in model.weights:
        array = variable.numpy()
        role = variable.path.rpartition("/")[2]
        if role in ("gamma", "moving_variance", "variance"):
            array = generator.uniform(0.5, 1.5, array.shape)
        elif role in ("beta", "bias", "moving_mean", "mean"):
            array = generator.normal(size=array.shape) * 0.1
        drawn.append(array)
    model.set_weights(drawn)
    return model


def logits_of_both(keras, model, graph, arrays):
    """(ours, Keras') of a seeded picture, both less their mean: Keras' end with a softmax."""
    size = graph.inputs[0].shape[1]
    image = np.random.default_rng(2).normal(size=(2, size, size, 3)).astype(np.float32)
    given = image
    if "efficientnet" in graph.name:  # its first layers prepare the image
        prepared = [layer for layer in model.layers if layer.name.startswith("normalization")]
        given = keras.Model(model.input, prepared[0].output)(image).numpy()
    subject = InProcessSubject(load_backend("numpy"))
    options = ProgramOptions("fast", precision("float32"))
    batch = {graph.inputs[0].name: np.ascontiguousarray(given.transpose(0, 3, 1, 2))}
    ours = subject.forward(graph, arrays, batch, options).outputs["logits"]
    theirs = np.log(model(image, training=False).numpy().astype(np.float64))
    return ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True)


def agree(ours, theirs):
    assert np.abs(theirs).max() > 1e-3  # not the uniform prediction of a dead network
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())


EVERY = [(name, suffix) for name in SAME for suffix in FORMATS if name != "vgg16"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "suffix"), [*EVERY, ("vgg16", ".h5")])  # one format of half a gigabyte is enough
def test_an_imported_application_predicts_what_keras_does(keras, name, suffix, tmp_path):
    cls, size = SAME[name]
    model = application(keras, cls, size)
    path = tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    graph = build(name, image=(3, size, size), num_classes=10)
    agree(*logits_of_both(keras, model, graph, match(graph, read_weights(path))))


def as_keras(graph: Graph) -> Graph:
    """The network with Keras' padding and means, by rules of this file's own."""
    nodes = []
    for node in graph.nodes:
        layer = node.layer
        if layer.kind == "conv" and max(layer.stride) > 1 and max(layer.kernel_size) > 1:
            spatial = graph.input_shapes(node)[0][2:]
            reach = (layer.kernel_size[0] // 2,) * 2
            pairs = [(reach[0] - (n + 1) % 2, reach[0]) for n in spatial]
            if any(map(any, layer.padding)):
                layer = replace(layer, padding=tuple(pairs))
        elif layer.kind == "avg_pool":
            layer = replace(layer, count_include_pad=False)
        nodes.append(replace(node, layer=layer))
    return replace(graph, nodes=tuple(nodes))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", OTHER)
def test_what_keras_computes_otherwise_is_refused_and_named(keras, name, tmp_path):
    cls, size, difference = OTHER[name]
    model = application(keras, cls, size)
    model.save(tmp_path / "model.keras")
    graph = build(name, image=(3, size, size), num_classes=10)
    arrays = read_weights(tmp_path / "model.keras")
    with pytest.raises(DataError, match="computes something else"):
        match(graph, arrays)
    fitted = fit(graph, arrays)
    assert any(text.startswith(difference) for text in fitted.differences)
    agree(*logits_of_both(keras, model, as_keras(graph), fitted.arrays))


def small():
    """A network of a convolution, a flatten of an image, and a linear layer."""
    b = Builder("small")
    x = b.add("first", Conv(out_channels=3, kernel_size=3), b.input("image", (3, 6, 5)))
    x = b.add("flat", Flatten(), b.add("relu", ReLU(), x))
    return b.build({"logits": b.add("last", Linear(out_features=4), x)})


def test_rows_behind_a_flatten_take_our_order_of_channels(keras, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            keras.layers.Conv2D(3, 3, activation="relu", name="first"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="last"),
        ]
    )
    image = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    graph = small()
    subject = InProcessSubject(load_backend("numpy"))
    for suffix in FORMATS:
        path = tmp_path / f"model{suffix}"
        (model.save_weights if suffix == ".weights.h5" else model.save)(path)
        arrays = match(graph, read_weights(path))
        options = ProgramOptions("reference", precision("float32"))
        given = {"image": np.ascontiguousarray(image.transpose(0, 3, 1, 2))}
        ours = subject.forward(graph, arrays, given, options).outputs["logits"]
        np.testing.assert_allclose(ours, model(image).numpy(), atol=1e-5)


def written(path, names, *, root=""):
    """A file as Keras 1 and 2 wrote it: layers and weights by name in attributes."""
    generator = np.random.default_rng(0)
    shapes = {"first": ((3, 3, 3, 3), (3,)), "last": ((36, 4), (4,))}
    with h5py.File(path, "w") as file:
        group = file.create_group(root) if root else file
        group.attrs["layer_names"] = [b"relu", b"first", b"last"]
        group.create_group("relu").attrs["weight_names"] = []
        for layer, both in shapes.items():
            held = group.create_group(layer)
            own = [names.format(layer=layer, role=role) for role in ("W", "b")]
            held.attrs["weight_names"] = [name.encode() for name in own]
            for name, shape in zip(own, both, strict=True):
                held[name] = generator.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("names", ["{layer}_{role}_1:0", "{layer}/{layer}_{role}:0", "{role}"])
@pytest.mark.parametrize("root", ["", "model_weights"])
def test_files_of_early_versions(tmp_path, names, root):
    written(tmp_path / "old.h5", names, root=root)
    arrays = read_weights(tmp_path / "old.h5")
    assert {name: array.shape for name, array in arrays.items()} == {
        "first.weight": (3, 3, 3, 3),
        "first.bias": (3,),
        "last.weight": (4, 36),
        "last.bias": (4,),
    }
    assert list(match(small(), arrays)) == ["first.weight", "first.bias", "last.weight", "last.bias"]


def test_what_does_not_fit_is_listed(tmp_path):
    written(tmp_path / "old.h5", "{layer}_{role}")
    with pytest.raises(DataError, match=r"do not fit resnet50_v1.*") as raised:
        match(build("resnet50_v1"), read_weights(tmp_path / "old.h5"))
    assert "missing conv1.weight" in str(raised.value)
    with pytest.raises(DataError, match="import it as resnet50_v1"):
        match(build("resnet50"), read_weights(tmp_path / "old.h5"))


def test_a_damaged_file_is_a_data_error(tmp_path):
    written(tmp_path / "whole.h5", "{layer}_{role}")
    content = (tmp_path / "whole.h5").read_bytes()
    for i, part in enumerate((b"", content[:100], content[: len(content) // 2], b"not at all" * 100)):
        (tmp_path / f"{i}.h5").write_bytes(part)
        (tmp_path / f"{i}.keras").write_bytes(part)
        for suffix in (".h5", ".keras"):
            with pytest.raises(DataError, match="cannot be read as one of Keras' weight files"):
                read_weights(tmp_path / f"{i}{suffix}")
    with pytest.raises(DataError, match="does not exist"):
        read_weights(tmp_path / "missing.h5")


@pytest.mark.parametrize("members", [{}, {"config.json": "[]"}, {"config.json": "{", "model.weights.h5": ""}])
def test_an_archive_without_weights_is_a_data_error(tmp_path, members):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    with pytest.raises(DataError, match="cannot be read"):
        read_weights(tmp_path / "model.keras")


def test_a_file_that_points_outside_itself_is_refused(tmp_path):
    written(tmp_path / "secret.h5", "{role}")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink("secret.h5", "/")
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.attrs["layer_names"] = [b"first"]
        group = file.create_group("first")
        group.attrs["weight_names"] = [b"W"]
        group.create_dataset("W", (4,), "f4", external=[(str(tmp_path / "secret.h5"), 0, 16)])
    for name in ("link.h5", "raw.h5"):
        with pytest.raises(DataError, match="file itself"):
            read_weights(tmp_path / name)


def test_an_array_that_would_fill_the_memory_is_refused(tmp_path):
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.attrs["layer_names"] = [b"first"]
        group = file.create_group("first")
        group.attrs["weight_names"] = [b"W"]
        group.create_dataset("W", (1 << 40,), "f4", chunks=(1024,))
    assert (tmp_path / "huge.h5").stat().st_size < 1 << 20
    with pytest.raises(DataError, match="would take"):
        read_weights(tmp_path / "huge.h5")


@pytest.mark.parametrize("held", [[], {}, {"config": []}, {"config": {"layers": [1]}}])
def test_a_configuration_of_another_shape_is_a_data_error(tmp_path, held):
    written(tmp_path / "odd.h5", "{role}")
    with h5py.File(tmp_path / "odd.h5", "a") as file:
        file.attrs["model_config"] = json.dumps(held)
    with pytest.raises(DataError, match="cannot be read"):
        read_weights(tmp_path / "odd.h5")
