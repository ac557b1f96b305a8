"""Keras models as graphs: the outputs are the model's own, values have their channels first, names are the layers'."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from cnnbench_tensorflow.models import read  # noqa: E402
from cnnbench_tensorflow.native import KerasRunner  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.execution.backends import load_backend  # noqa: E402
from cnnbench.execution.contract import ProgramOptions  # noqa: E402
from cnnbench.execution.own_forward import own_outputs  # noqa: E402
from cnnbench.execution.precision import precision  # noqa: E402
from cnnbench.numerics.subject import InProcessSubject  # noqa: E402
from cnnbench.spec.draws import draw_inputs  # noqa: E402
from cnnbench.spec.interchange.model_readers import GivenInputs  # noqa: E402

layers = keras.layers
pytestmark = pytest.mark.tensorflow
EXACT = ProgramOptions("reference", precision("float64"), "channels_first")


def residual():
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn", momentum=0.9)(x))
    y = layers.DepthwiseConv2D(3, padding="same", activation="tanh", name="depthwise")(x)
    y = layers.SeparableConv2D(8, 3, padding="same")(y)
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(layers.Add(name="sum")([x, y])))
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Concatenate(name="joined")([layers.Multiply()([x, gate]), x])
    x = layers.Dropout(0.3, name="drop")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="fc")(x))


def transposed():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
            layers.LayerNormalization(),
            layers.AveragePooling2D(3, 2, "same"),
        ]
    )


def shared():
    image, conv = keras.Input((6, 6, 4)), layers.Conv2D(4, 3, padding="same", name="conv")
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(4, 1, name="inner")], name="nested")
    return keras.Model(image, inner(conv(conv(image))))


def nested():
    """As transfer learning has it: Keras counts the making of a functional model as its first call."""
    inside = keras.Input((6, 6, 4))
    backbone = keras.Model(inside, layers.Conv2D(4, 3, padding="same", name="conv")(inside), name="backbone")
    image = keras.Input((6, 6, 4))
    once = keras.Model(image, backbone(image, training=False), name="once")
    outside = keras.Input((6, 6, 4))
    return keras.Model(outside, layers.Subtract()([once(outside), once(layers.ReLU()(outside))]))


def recurrent():
    return keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(3),
            layers.Dense(2),
        ]
    )


def prepared():
    """Numbers as operands, and normalisations by variables and by what the configuration states."""
    image = keras.Input((6, 6, 3))
    x = layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[0.1, 0.0, 4.0])(image)
    x = layers.Conv2D(4, 3)(layers.Normalization(name="learnt")(x))
    return keras.Model(image, (2.0 - layers.ReLU(6.0)(x + 3.0)) * 0.5 - 1.0)


def twice():
    """A backbone that is called alone, and in another model."""
    image = keras.Input((6, 6, 3))
    backbone = keras.Model(image, layers.Conv2D(4, 3, name="conv")(image), name="backbone")
    rows = layers.Dense(2, name="fc")(layers.Flatten()(backbone(image)))
    head = keras.Model(image, rows, name="head")
    outside = keras.Input((6, 6, 3))
    return keras.Model(outside, [head(outside), backbone(outside), head(layers.ReLU()(outside))])


def statistics():
    """As applications prepare images: with statistics that float32 does not hold, and by variables."""
    image = keras.Input((6, 6, 3))
    x = layers.Normalization(mean=[0.485, 0.4, 0.3], variance=[0.1, 0.7, 0.3])(layers.Rescaling(1 / 127.5, -0.1)(image))
    return keras.Model(image, layers.Conv2D(4, 3)(layers.Normalization(name="learnt")(x)))


@pytest.mark.parametrize("make", [residual, transposed, shared, nested, recurrent, prepared, statistics, twice])
def test_a_model_is_read_as_what_it_computes(make):
    model = make()
    weights = [np.random.default_rng(i).uniform(0.5, 1.5, w.shape) * 0.3 for i, w in enumerate(model.get_weights())]
    model.set_weights(weights)
    found = read(model, GivenInputs())
    batch = draw_inputs(found.graph, 0, 3)
    theirs = own_outputs(KerasRunner(model, "eager", "float64", "cpu"), found, batch)
    ours = InProcessSubject(load_backend("numpy")).forward(found.graph, found.arrays, batch, EXACT).outputs
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-10, atol=1e-10 * np.abs(array).max())


def test_a_layer_in_several_models_is_one():
    graph = read(twice(), GivenInputs()).graph
    assert {node.name: node.weights_of for node in graph.nodes if node.layer.kind == "conv"} == {
        "head.backbone.conv": None,
        "head.backbone.conv.call_2": "head.backbone.conv",
        "head.backbone.conv.call_3": "head.backbone.conv",
    }
    assert len(graph.named_weights()) == 4


def test_layers_have_their_names_and_no_layout_is_left():
    graph = read(residual(), GivenInputs()).graph
    nodes = {node.name: node for node in graph.nodes}
    assert {"conv", "bn", "relu", "depthwise", "depthwise.tanh", "sum", "gate", "gate.sigmoid", "drop", "fc"} <= {
        *nodes
    }
    assert graph.inputs[0].shape == (3, 16, 16)
    assert nodes["bn"].layer.fields()["momentum"] == pytest.approx(0.1)
    assert nodes["drop"].layer.p == 0.3
    assert [node.name for node in graph.nodes if node.layer.kind == "transpose"] == ["joined.layout_0231"]


def test_open_sizes_are_asked_for():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3)])
    with pytest.raises(SpecError, match="open sizes"):
        read(model, GivenInputs())
    assert read(model, GivenInputs(image=(3, 8, 8))).graph.inputs[0].shape == (3, 8, 8)


def test_every_layer_that_is_not_read_is_named():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.UnitNormalization(name="one"), layers.UnitNormalization(name="two")]
    )
    with pytest.raises(SpecError) as error:
        read(model, GivenInputs())
    assert "one: what this class computes is not known here" in str(error.value.received)
    assert "two:" in str(error.value.received)


def test_a_file_is_read_as_the_model(tmp_path):
    model = residual()
    model.save(tmp_path / "net.keras")
    saved, live = read(tmp_path / "net.keras", GivenInputs()), read(model, GivenInputs())
    assert saved.graph.digest == live.graph.digest
    assert all(np.array_equal(saved.arrays[name], array) for name, array in live.arrays.items())


def test_a_class_of_the_users_is_not_taken_for_a_layer_of_keras_that_is_called_alike():
    class Flatten(layers.Layer):
        def call(self, x):
            return keras.ops.relu(x)

    @keras.saving.register_keras_serializable()
    class LayerScale(layers.Layer):
        def call(self, x):
            return 2 * x

    for own in (Flatten, LayerScale):
        with pytest.raises(SpecError, match="what this class computes is not known here"):
            read(keras.Sequential([keras.Input((4, 4, 3)), own()]), GivenInputs())


MASKED = {  # made in the test: a layer with state starts TensorFlow, and collecting a file must not
    "lstm": (lambda: [layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3)], (5,)),
    "mean": (lambda: [layers.Embedding(9, 4, mask_zero=True), layers.GlobalAveragePooling1D()], (5,)),
    "both_directions": (lambda: [layers.Masking(), layers.Bidirectional(layers.GRU(3))], (5, 4)),
    "set_to_0": (lambda: [layers.Masking(mask_value=2.0), layers.Dense(3)], (5, 4)),
}


@pytest.mark.parametrize("name", MASKED)
def test_masks_of_sequences_are_refused_where_a_layer_reads_them(name):
    make, shape = MASKED[name]
    with pytest.raises(SpecError, match="mask"):
        read(keras.Sequential([keras.Input(shape), *make()]), GivenInputs())
