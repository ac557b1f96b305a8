"""Keras files whose network is another than ours: what differs is named, and what cannot be known is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_networks import CONV, END, IMAGE, ONE, WHOLE, drawn, end, network, predicts_as, saved

import cnnbench
from cnnbench.errors import DataError
from cnnbench.registry import read_weights
from cnnbench.spec.graph import Builder
from cnnbench.spec.interchange.weight_files import fit, match
from cnnbench.spec.kinds import layer_kinds

pytest.importorskip("h5py", reason="needs h5py, which TensorFlow brings")
pytestmark = pytest.mark.tensorflow

DIFFERENCES = {  # what a layer of Keras, or a node of ours, has otherwise: its fields, and what is said
    "padding": ({"padding": "same", "strides": 2}, {"padding": 1, "stride": 2}, "c pads ((1, 1), (1, 1)) here"),
    "stride": ({"strides": 2}, {}, "c: stride 1x1 here, 2x2 in the file"),
    "dilation": ({"dilation_rate": 2}, {}, "c: dilation 1x1 here, 2x2 in the file"),
    "activation": ({"activation": "relu"}, {}, "fc reads c here, relu(c) in the file"),
    "another activation": ({"activation": "gelu"}, {}, "fc reads c here, gelu(c) in the file"),
    "data format": ({"data_format": "channels_first"}, {}, "c"),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_what_the_file_computes_otherwise_is_named(what, keras, tmp_path):
    theirs, ours, said = DIFFERENCES[what]
    k = keras.layers
    shape = (6, 6, 6) if what == "data format" else (6, 6, 3)
    model = drawn(keras.Sequential([keras.Input(shape), k.Conv2D(4, 3, name="c", **theirs), *end(k)]))
    graph = network((shape[2], 6, 6), ("c", "conv", {**CONV, **ours}), *END)
    if what in ("stride", "dilation"):
        graph = network((3, 6, 6), ("c", "conv", {**CONV, **ours}), ("p", "global_avg_pool", {}), END[1])
        model = drawn(
            keras.Sequential(
                [keras.Input(shape), k.Conv2D(4, 3, name="c", **theirs), k.GlobalAveragePooling2D(), end(k)[1]]
            )
        )
    if what == "data format":  # the same network for images whose channels are first already
        fitted = fit(graph, read_weights(saved(model, ".keras", tmp_path)))
        assert fitted.differences == ()
        return
    for suffix in WHOLE:
        arrays = read_weights(saved(model, suffix, tmp_path))
        with pytest.raises(DataError, match="computes something else") as caught:
            match(graph, arrays)
        assert said in caught.value.received
        assert fit(graph, arrays).differences


BETWEEN = {  # between a convolution and a linear layer: Keras' layers, our nodes, and what is said
    "order": (
        lambda k: [k.MaxPooling2D(2), k.Activation("tanh")],
        [("p", "max_pool", {"kernel_size": 2, "stride": 2})],
    ),
    "window": (lambda k: [k.MaxPooling2D(2)], [("p", "avg_pool", {"kernel_size": 2, "stride": 2})]),
    "size": (lambda k: [k.MaxPooling2D(2)], [("p", "max_pool", {"kernel_size": 3, "stride": 2})]),
    "lambda": (lambda k: [k.Lambda(lambda x: x * 2)], []),
    "unknown": (lambda k: [k.UnitNormalization()], []),
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_lies_between_layers_is_compared(what, keras, tmp_path):
    layers, nodes = BETWEEN[what]
    k = keras.layers
    made = [keras.Input((6, 6, 3)), k.Conv2D(4, 3, name="c"), *layers(k), k.GlobalAveragePooling2D()]
    model = drawn(keras.Sequential([*made, k.Dense(2, name="fc")]))
    graph = network((3, 6, 6), ("c", "conv", CONV), *nodes, ("g", "global_avg_pool", {}), END[1])
    arrays = read_weights(saved(model, ".keras", tmp_path))
    with pytest.raises(DataError, match="computes something else") as caught:
        match(graph, arrays)
    if what in ("lambda", "unknown"):
        assert "cannot be compared" in caught.value.received
        assert type(layers(k)[0]).__name__ in caught.value.received
    else:
        assert "fc reads" in caught.value.received
    assert set(fit(graph, arrays).arrays) == {"c.weight", "c.bias", "fc.weight", "fc.bias"}


def test_what_training_alone_does_otherwise_is_said(keras, tmp_path):
    k = keras.layers
    model = drawn(keras.Sequential([keras.Input(IMAGE), k.BatchNormalization(momentum=0.9, name="b"), *end(k)]))
    graph = network(ONE, ("b", "batch_norm", {"momentum": 0.2, "eps": 1e-3}), *END)
    notes = fit(graph, read_weights(saved(model, ".keras", tmp_path))).notes
    assert "in training only: momentum 0.2 here, 0.1 in the file (1 nodes)" in notes


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "mixed_bfloat16", "float64"])
def test_other_types_of_numbers(policy, keras, tmp_path):
    k = keras.layers
    model = keras.Sequential([keras.Input(IMAGE), k.Conv2D(4, 3, dtype=policy, name="c"), k.Flatten()])
    graph = network(ONE, ("c", "conv", CONV), ("t", "transpose", {"permutation": (0, 2, 3, 1)}), END[0])
    kernel = np.asarray(model.layers[0].kernel).astype(np.float64)
    for suffix in (*WHOLE, ".weights.h5"):
        found = match(graph, read_weights(saved(model, suffix, tmp_path)))["c.weight"]
        np.testing.assert_array_equal(found, kernel.transpose(3, 2, 0, 1), f"{policy} {suffix}")


def test_a_model_of_a_class_of_its_own_is_fitted_by_names_and_says_what_it_cannot_know(keras, tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.c = keras.layers.Conv2D(4, 3, name="c")
            self.fc = keras.layers.Dense(2, name="fc")

        def call(self, x):
            return self.fc(keras.ops.mean(self.c(x), axis=(1, 2)))

    model = Own()
    model(np.zeros((1, *IMAGE), np.float32))
    drawn(model)
    graph = network(ONE, ("c", "conv", CONV), ("g", "global_avg_pool", {}), END[1])
    image = np.random.default_rng(1).normal(size=(2, *IMAGE)).astype(np.float32)
    for suffix in (".keras", ".weights.h5"):
        fitted = fit(graph, read_weights(saved(model, suffix, tmp_path)))
        assert any("are not compared" in note for note in fitted.notes)
        predicts_as(graph, fitted.arrays, model, image)


LAYERS = st.lists(
    st.sampled_from(["conv", "strided", "depthwise", "separable", "norm", "relu", "leaky", "pool", "mean", "pad"]),
    min_size=1,
    max_size=6,
)


def pair_of(what, i, k, channels):
    """The same layer for Keras and for us, and the channels behind it."""
    name = f"n{i}"
    more = channels + 1
    conv = {"out_channels": more, "kernel_size": 3}
    return {
        "conv": ([k.Conv2D(more, 3, padding="same", activation="relu", name=name)],
                 [(name, "conv", {**conv, "padding": 1}), (f"{name}r", "relu", {})], more),
        "strided": ([k.Conv2D(more, 3, strides=2, padding="same", name=name)],
                    [(name, "conv", {**conv, "stride": 2, "padding": "same"})], more),
        "depthwise": ([k.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False, name=name)],
                      [(name, "conv", {"out_channels": 2 * channels, "kernel_size": 3, "padding": 1,
                                       "groups": channels, "bias": False})], 2 * channels),
        "separable": ([k.SeparableConv2D(more, 3, padding="same", name=name)],
                      [(name, "depthwise_separable_conv", {**conv, "padding": 1})], more),
        "norm": ([k.BatchNormalization(epsilon=1e-2, scale=i % 2 == 0, center=i % 3 == 0, name=name)],
                 [(name, "batch_norm", {})], channels),
        "relu": ([k.ReLU(max_value=6.0)], [(name, "relu6", {})], channels),
        "leaky": ([k.LeakyReLU(negative_slope=0.1)], [(name, "leaky_relu", {"negative_slope": 0.1})], channels),
        "pool": ([k.MaxPooling2D(2, padding="same")],
                 [(name, "max_pool", {"kernel_size": 2, "stride": 2, "padding": "same"})], channels),
        "mean": ([k.AveragePooling2D(2, 1)], [(name, "avg_pool", {"kernel_size": 2, "stride": 1})], channels),
        "pad": ([k.ZeroPadding2D(((1, 0), (0, 2)))], [(name, "pad", {"padding": ((0, 0), (1, 0), (0, 2))})], channels),
    }[what]  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LAYERS, st.sampled_from([[], ["norm"], ["relu"], ["relu", "norm"]]), st.integers(0, 9))
def test_any_chain_of_layers_predicts_what_keras_does(keras, tmp_path, before, behind, seed):
    k, channels = keras.layers, 3
    theirs, ours = [keras.Input((24, 20, 3))], []
    for i, what in enumerate([*before, "flatten", *behind]):
        if what == "flatten":
            layers, nodes = [k.Flatten()], [("flat", "flatten", {})]
        else:
            layers, nodes, channels = pair_of(what, i, k, channels)
        theirs += layers
        ours += nodes
    model = drawn(keras.Sequential([*theirs, k.Dense(2, name="fc")]), seed)
    graph = network((3, 24, 20), *ours, END[1])
    image = np.random.default_rng(seed).normal(size=(2, 24, 20, 3)).astype(np.float32)
    predicts_as(graph, match(graph, read_weights(saved(model, ".keras", tmp_path))), model, image)


def keras_2(path, config, arrays):
    """A file as Keras 2 wrote a whole model."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.4.0"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in arrays]
        for layer, weights in arrays.items():
            held = group.create_group(layer)
            held.attrs["weight_names"] = [name.encode() for name in weights]
            for name, array in weights.items():
                held[name] = array


def layer_2(cls, called, inbound, **config):
    nodes = [[[source, 0, 0, {}] for source in inbound]] if inbound else []
    return {"class_name": cls, "name": called, "config": {"name": called, **config}, "inbound_nodes": nodes}


@pytest.mark.parametrize("activation", ["hard_sigmoid", "relu"])
def test_a_functional_model_of_keras_2_with_a_nested_one(activation, tmp_path):
    generator = np.random.default_rng(0)
    kernel, bias = generator.normal(size=(3, 3, 3, 4)).astype("f"), generator.normal(size=4).astype("f")
    matrix, more = generator.normal(size=(4 * 4 * 3, 2)).astype("f"), generator.normal(size=2).astype("f")
    conv = {"filters": 4, "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "activation": activation}
    inner = {
        "layers": [
            layer_2("InputLayer", "in2", [], batch_input_shape=[None, 6, 5, 3]),
            layer_2("Conv2D", "c", ["in2"], **conv),
        ],
        "name": "backbone", "input_layers": [["in2", 0, 0]], "output_layers": [["c", 0, 0]],
    }  # fmt: skip
    layers = [
        layer_2("InputLayer", "in1", [], batch_input_shape=[None, 6, 5, 3]),
        layer_2("Functional", "backbone", ["in1"], **inner),
        layer_2("Flatten", "flat", ["backbone"], data_format="channels_last"),
        layer_2("Dense", "fc", ["flat"], units=2, activation="softmax", use_bias=True),
    ]
    config = {"layers": layers, "name": "m", "input_layers": [["in1", 0, 0]], "output_layers": [["fc", 0, 0]]}
    arrays = {
        "in1": {}, "backbone": {"c/kernel:0": kernel, "c/bias:0": bias}, "flat": {},
        "fc": {"fc/kernel:0": matrix, "fc/bias:0": more},
    }  # fmt: skip
    keras_2(tmp_path / "old.h5", {"class_name": "Functional", "config": config}, arrays)
    node = ("a", "hard_sigmoid", {"slope": 0.2}) if activation == "hard_sigmoid" else ("a", "relu", {})
    graph = network(ONE, ("c", "conv", CONV), node, *END)
    fitted = fit(graph, read_weights(tmp_path / "old.h5"))
    assert fitted.differences == ()
    assert any("softmax" in note for note in fitted.notes)
    rows = matrix.reshape(4, 3, 4, 2).transpose(2, 0, 1, 3).reshape(48, 2)
    np.testing.assert_array_equal(fitted.arrays["fc.weight"], rows.T)
    np.testing.assert_array_equal(fitted.arrays["c.weight"], kernel.transpose(3, 2, 0, 1))
    if activation == "hard_sigmoid":  # that of Keras 3 has another slope
        other = network(ONE, ("c", "conv", CONV), ("a", "hard_sigmoid", {}), *END)
        with pytest.raises(DataError, match="fc reads hard_sigmoid"):
            match(other, read_weights(tmp_path / "old.h5"))


def test_inputs_of_one_shape_are_told_apart_by_their_names(keras, tmp_path):
    k = keras.layers
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    model = drawn(keras.Model([left, right], k.Subtract()([k.Dense(2, name="a")(left), k.Dense(2, name="b")(right)])))
    b = Builder("net")
    kinds = layer_kinds()
    two, one = b.input("right", (4,)), b.input("left", (4,))
    first = b.add("a", kinds["linear"](out_features=2), one)
    second = b.add("b", kinds["linear"](out_features=2), two)
    graph = b.build({"output": b.add("s", kinds["subtract"](), first, second)})
    fitted = fit(graph, read_weights(saved(model, ".keras", tmp_path)))
    assert fitted.differences == ()
    inputs = {
        name: np.random.default_rng(i).normal(size=(2, 4)).astype("f") for i, name in enumerate(("left", "right"))
    }
    ours = cnnbench.predict(cnnbench.Model(graph, fitted.arrays), inputs).output
    theirs = np.asarray(model([inputs["left"], inputs["right"]]))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_layers_that_prepare_images_are_left_aside_aloud(keras, tmp_path):
    k = keras.layers
    layers = [keras.Input(IMAGE), k.Rescaling(1 / 255, name="scale"), k.Conv2D(4, 3, name="c"), *end(k)]
    model = drawn(keras.Sequential(layers))
    path = saved(model, ".keras", tmp_path)
    fitted = fit(network(ONE, ("c", "conv", CONV), *END), read_weights(path))
    assert "left aside: scale; prepare the images as those layers do" in fitted.notes
    graph = network(ONE, ("s", "scalar_affine", {"scale": 1 / 255}), ("c", "conv", CONV), *END)
    fitted = fit(graph, read_weights(path))
    assert fitted.differences == fitted.notes == ()
    predicts_as(graph, fitted.arrays, model, np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("f") * 255)


def test_what_cannot_be_compared_may_be_accepted_with_rows_and_epsilons_as_keras_has_them(keras, tmp_path):
    k = keras.layers
    layers = [k.Conv2D(4, 3, name="c"), k.BatchNormalization(name="b"), k.Lambda(lambda x: x * 1), *end(k)]
    model = drawn(keras.Sequential([keras.Input(IMAGE), *layers]))
    graph = network(ONE, ("c", "conv", CONV), ("b", "batch_norm", {}), *END)
    fitted = fit(graph, read_weights(saved(model, ".keras", tmp_path)))
    assert "Lambda" in fitted.differences[0]
    predicts_as(graph, fitted.arrays, model, np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("f"))


def test_a_folder_says_which_of_its_files_to_name(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(DataError, match="SavedModel") as caught:
        read_weights(tmp_path / "model")
    assert "load_model" in caught.value.remedy
