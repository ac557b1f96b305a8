"""Files of Keras read from their configuration: our network predicts what Keras does, or the difference is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cnnbench
from cnnbench.errors import DataError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProcessSettings
from cnnbench.registry import read_weights
from cnnbench.spec.graph import Builder
from cnnbench.spec.interchange.weight_files import fit, match
from cnnbench.spec.kinds import layer_kinds

pytest.importorskip("h5py", reason="needs h5py, which TensorFlow brings")
pytestmark = pytest.mark.tensorflow
WHOLE = (".keras", ".h5")


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("tensorflow", reason="needs tensorflow")
    load_backend("tensorflow").configure(ProcessSettings(threads=2))  # before Keras starts it, as all tests have it
    return pytest.importorskip("keras", reason="needs keras")


def network(shape, *nodes, dtype="float"):
    """A chain of nodes as (name, kind, fields); ``inputs`` among the fields names others than the one before."""
    b = Builder("net")
    values = {"input": b.input("input", shape, dtype=dtype)}
    last = "input"
    for name, kind, fields in nodes:
        fields = dict(fields)
        inputs = [values[item] for item in fields.pop("inputs", [last])]
        output = fields.pop("output", 0)
        values[name] = b.add_all(name, layer_kinds()[kind](**fields), *inputs)[output]
        last = name
    return b.build({"output": values[last]})


def drawn(model, seed=0):
    """Every variable in general position."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype not in ("float32", "bfloat16", "float16"):
            continue
        array = generator.normal(size=variable.shape) * 0.5
        if "variance" in variable.path:
            array = np.abs(array) + 0.5
        variable.assign(array)
    return model


def saved(model, suffix, folder):
    path = folder / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    return path


def predicts_as(graph, arrays, model, image, *, first=True):
    """``first``: whether our images and outputs have their channels first, and Keras' have not."""
    given = np.ascontiguousarray(np.moveaxis(image, -1, 1)) if first and image.ndim > 2 else image
    ours = cnnbench.predict(cnnbench.Model(graph, arrays), given).output
    theirs = np.asarray(model(image, training=False)).astype(np.float32)
    if first and theirs.ndim > 2:
        theirs = np.moveaxis(theirs, -1, 1)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * max(np.abs(theirs).max(), 1e-3))


IMAGE, SERIES = (6, 5, 3), (7, 3)
ONE = (3, 6, 5)  # the image with its channels first
CONV = {"out_channels": 4, "kernel_size": 3}
END = [("flat", "flatten", {}), ("fc", "linear", {"out_features": 2})]


def end(k):
    return [k.Flatten(), k.Dense(2, name="fc")]


KINDS = {  # by name: Keras' shape, its layers, our shape, our nodes
    "shift without scale": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.BatchNormalization(scale=False, name="b"), *end(k)],
        ONE,
        [("c", "conv", CONV), ("b", "batch_norm", {}), *END],
    ),
    "scale without shift": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.BatchNormalization(center=False, name="b"), *end(k)],
        ONE,
        [("c", "conv", CONV), ("b", "batch_norm", {}), *END],
    ),
    "neither": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.BatchNormalization(center=False, scale=False, name="b"), *end(k)],
        ONE,
        [("c", "conv", CONV), ("b", "batch_norm", {}), *END],
    ),
    "no biases": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, use_bias=False, name="c"), k.Flatten(), k.Dense(2, use_bias=False, name="fc")],
        ONE,
        [("c", "conv", CONV), *END],
    ),
    "activation between flatten and dense": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.Flatten(), k.Activation("tanh"), k.Dropout(0.5), k.Dense(2, name="fc")],
        ONE,
        [("c", "conv", CONV), ("flat", "flatten", {}), ("t", "tanh", {}), ("fc", "linear", {"out_features": 2})],
    ),
    "norm between flatten and dense": (
        IMAGE,
        lambda k: [
            k.Conv2D(4, 3, name="c"), k.Flatten(), k.BatchNormalization(name="b"), k.ReLU(), k.Dense(2, name="fc"),
        ],
        ONE,
        [("c", "conv", CONV), ("flat", "flatten", {}), ("b", "batch_norm", {}), ("r", "relu", {}), END[1]],
    ),
    "layer norm between flatten and dense": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.Flatten(), k.LayerNormalization(name="n"), k.Dense(2, name="fc")],
        ONE,
        [("c", "conv", CONV), ("flat", "flatten", {}), ("n", "layer_norm", {"eps": 1e-3}), END[1]],
    ),
    "layer norm over an image": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.LayerNormalization(axis=[1, 2, 3], name="n"), *end(k)],
        ONE,
        [("c", "conv", CONV), ("n", "layer_norm", {"start_axis": 1, "eps": 1e-3}), *END],
    ),
    "reshape in place of flatten": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.Reshape((-1,)), k.Dense(2, name="fc")],
        ONE,
        [("c", "conv", CONV), ("flat", "reshape", {"shape": (-1,)}), END[1]],
    ),
    "permute before flatten": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.Permute((3, 1, 2)), k.Flatten(), k.Dense(2, name="fc")],
        ONE,
        [("c", "conv", CONV), *END],
    ),
    "our network flattens as Keras does": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), *end(k)],
        ONE,
        [("c", "conv", CONV), ("t", "transpose", {"permutation": (0, 2, 3, 1)}), *END],
    ),
    "conv1d": (
        SERIES,
        lambda k: [k.Conv1D(4, 3, strides=2, padding="same", name="c"), k.ReLU(), *end(k)],
        (3, 7),
        [("c", "conv", {**CONV, "stride": 2, "padding": "same"}), ("r", "relu", {}), *END],
    ),
    "causal conv1d": (
        SERIES,
        lambda k: [k.Conv1D(4, 3, dilation_rate=2, padding="causal", name="c"), *end(k)],
        (3, 7),
        [("c", "conv", {**CONV, "dilation": 2, "padding": ((4, 0),)}), *END],
    ),
    "conv3d": (
        (4, 5, 4, 3),
        lambda k: [k.Conv3D(4, 3, name="c"), k.MaxPooling3D(2), *end(k)],
        (3, 4, 5, 4),
        [("c", "conv", CONV), ("p", "max_pool", {"kernel_size": 2, "stride": 2}), *END],
    ),
    "groups and dilation": (
        (8, 8, 4),
        lambda k: [k.Conv2D(6, 3, groups=2, dilation_rate=2, padding="same", name="c"), *end(k)],
        (4, 8, 8),
        [("c", "conv", {"out_channels": 6, "kernel_size": 3, "groups": 2, "dilation": 2, "padding": "same"}), *END],
    ),
    "transposed": (
        IMAGE,
        lambda k: [k.Conv2DTranspose(4, 3, strides=2, padding="same", name="c"), *end(k)],
        ONE,
        [("c", "conv_transpose", {**CONV, "stride": 2, "padding": "same"}), *END],
    ),
    "transposed, valid, kernel below stride": (
        IMAGE,
        lambda k: [k.Conv2DTranspose(4, 2, strides=3, name="c"), *end(k)],
        ONE,
        [("c", "conv_transpose", {"out_channels": 4, "kernel_size": 2, "stride": 3, "output_padding": 1}), *END],
    ),
    "depthwise with a multiplier": (
        IMAGE,
        lambda k: [k.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="c"), *end(k)],
        ONE,
        [("c", "conv", {"out_channels": 6, "kernel_size": 3, "groups": 3, "padding": "same"}), *END],
    ),
    "separable": (
        IMAGE,
        lambda k: [k.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu", name="c"), *end(k)],
        ONE,
        [("c", "depthwise_separable_conv", {**CONV, "multiplier": 2}), ("r", "relu", {}), *END],
    ),
    "dense on channels is a 1x1 convolution": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.Dense(5, activation="relu", name="d"), k.GlobalAveragePooling2D()],
        ONE,
        [
            ("c", "conv", CONV), ("d", "conv", {"out_channels": 5, "kernel_size": 1}), ("r", "relu", {}),
            ("p", "global_avg_pool", {}),
        ],
    ),
    "1x1 convolution at the end is a linear layer": (
        IMAGE,
        lambda k: [
            k.Conv2D(4, 3, name="c"), k.GlobalMaxPooling2D(keepdims=True), k.Conv2D(2, 1, name="fc"), k.Flatten(),
        ],
        ONE,
        [("c", "conv", CONV), ("p", "global_max_pool", {}), END[1]],
    ),
    "padding as a layer": (
        IMAGE,
        lambda k: [k.ZeroPadding2D(((1, 2), (0, 1))), k.Conv2D(4, 3, name="c"), *end(k)],
        ONE,
        [("c", "conv", {**CONV, "padding": ((1, 2), (0, 1))}), *END],
    ),
    "zeros before a maximum of what is not negative": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, activation="relu", name="c"), k.ZeroPadding2D(1), k.MaxPooling2D(3, 2), *end(k)],
        ONE,
        [
            ("c", "conv", CONV), ("r", "relu", {}),
            ("p", "max_pool", {"kernel_size": 3, "stride": 2, "padding": 1}), *END,
        ],
    ),
    "average pool without its padding": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.AveragePooling2D(2, padding="same"), *end(k)],
        ONE,
        [
            ("c", "conv", CONV),
            ("p", "avg_pool", {"kernel_size": 2, "stride": 2, "padding": "same", "count_include_pad": False}), *END,
        ],
    ),
    "upsampling and cropping": (
        IMAGE,
        lambda k: [k.UpSampling2D(2), k.Cropping2D(((1, 0), (0, 2))), k.Conv2D(4, 3, name="c"), *end(k)],
        ONE,
        [
            ("u", "upsample", {"scale": 2.0}), ("s", "slice", {"starts": (1, 0), "ends": (12, 8), "axes": (2, 3)}),
            ("c", "conv", CONV), *END,
        ],
    ),
    "prelu of channels": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.PReLU(shared_axes=[1, 2], name="p"), *end(k)],
        ONE,
        [("c", "conv", CONV), ("p", "prelu", {"slopes": "channel"}), *END],
    ),
    "group norm": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.GroupNormalization(groups=2, name="n"), *end(k)],
        ONE,
        [("c", "conv", CONV), ("n", "group_norm", {"groups": 2, "eps": 1e-3}), *END],
    ),
    "another epsilon": (
        IMAGE,
        lambda k: [k.Conv2D(4, 3, name="c"), k.BatchNormalization(epsilon=0.3, name="b"), *end(k)],
        ONE,
        [("c", "conv", CONV), ("b", "batch_norm", {}), *END],
    ),
    "activations": (
        IMAGE,
        lambda k: [
            k.Conv2D(4, 3, activation="gelu", name="c"), k.LeakyReLU(negative_slope=0.2), k.Conv2D(4, 1, name="d"),
            k.ReLU(max_value=6), k.Activation("hard_sigmoid"), k.ELU(0.7), k.Activation("silu"), *end(k),
        ],
        ONE,
        [
            ("c", "conv", CONV), ("g", "gelu", {}), ("l", "leaky_relu", {"negative_slope": 0.2}),
            ("d", "conv", {"out_channels": 4, "kernel_size": 1}), ("r", "relu6", {}), ("h", "hard_sigmoid", {}),
            ("e", "elu", {"alpha": 0.7}), ("s", "silu", {}), *END,
        ],
    ),
}  # fmt: skip
SEQUENCES = {  # whose axes stay where they are
    "lstm": (
        lambda k: [k.LSTM(4, name="l"), k.Dense(2, name="fc")],
        [("l", "lstm", {"hidden_size": 4, "output": 1}), END[1]],
    ),
    "lstm of onnx's order, one bias, every step": (
        lambda k: [k.LSTM(4, return_sequences=True, name="l"), k.Dense(2, name="fc")],
        [("l", "lstm", {"hidden_size": 4, "gate_order": "iofg", "biases": "one"}), END[1]],
    ),
    "gru": (
        lambda k: [k.GRU(4, name="l"), k.Dense(2, name="fc")],
        [("l", "gru", {"hidden_size": 4, "output": 1}), END[1]],
    ),
    "gru that resets before": (
        lambda k: [k.GRU(4, reset_after=False, return_sequences=True, name="l"), k.Dense(2, name="fc")],
        [("l", "gru", {"hidden_size": 4, "reset": "before", "gate_order": "zrn"}), END[1]],
    ),
    "lstm read from the end, no biases": (
        lambda k: [k.LSTM(4, go_backwards=True, use_bias=False, name="l"), k.Dense(2, name="fc")],
        [("l", "lstm", {"hidden_size": 4, "reverse": True, "output": 1}), END[1]],
    ),
    "plain recurrence": (
        lambda k: [k.SimpleRNN(4, activation="relu", name="l"), k.Dense(2, name="fc")],
        [("l", "rnn", {"hidden_size": 4, "activations": ("relu",), "output": 1}), END[1]],
    ),
    "other gates": (
        lambda k: [k.LSTM(4, activation="softsign", recurrent_activation="tanh", name="l"), k.Dense(2, name="fc")],
        [("l", "lstm", {"hidden_size": 4, "activations": ("tanh", "softsign", "softsign"), "output": 1}), END[1]],
    ),
    "both directions, every step": (
        lambda k: [k.Bidirectional(k.GRU(4, return_sequences=True), name="l"), k.Dense(2, name="fc")],
        [("l", "bidirectional_gru", {"hidden_size": 4}), END[1]],
    ),
    "dense at each step": (
        lambda k: [
            k.TimeDistributed(k.Dense(4, activation="relu"), name="d"), k.LSTM(3, name="l"), k.Dense(2, name="fc"),
        ],
        [
            ("d", "linear", {"out_features": 4}), ("r", "relu", {}),
            ("l", "lstm", {"hidden_size": 3, "output": 1}), END[1],
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_predicts_what_keras_does(kind, keras, tmp_path):
    theirs, layers, ours, nodes = KINDS[kind]
    model = drawn(keras.Sequential([keras.Input(theirs), *layers(keras.layers)]))
    image = np.random.default_rng(1).normal(size=(2, *theirs)).astype(np.float32)
    graph = network(ours, *nodes)
    told = "permute" in kind or any("norm" in what for _, what, _ in nodes)  # epsilons and axes, by a configuration
    for suffix in WHOLE if told else (*WHOLE, ".weights.h5"):
        predicts_as(graph, cnnbench.load(graph, saved(model, suffix, tmp_path)).arrays, model, image)


@pytest.mark.parametrize("kind", SEQUENCES)
def test_a_network_of_sequences_predicts_what_keras_does(kind, keras, tmp_path):
    layers, nodes = SEQUENCES[kind]
    model = drawn(keras.Sequential([keras.Input(SERIES), *layers(keras.layers)]))
    series = np.random.default_rng(1).normal(size=(2, *SERIES)).astype(np.float32)
    graph = network(SERIES, *nodes)
    for suffix in (*WHOLE, ".weights.h5"):
        predicts_as(graph, match(graph, read_weights(saved(model, suffix, tmp_path))), model, series, first=False)


def test_both_directions_and_an_embedding_in_their_order(keras, tmp_path):
    k = keras.layers
    model = drawn(keras.Sequential([keras.Input((6,)), k.Embedding(9, 9), k.Bidirectional(k.LSTM(4)), k.Dense(2)]))
    graph = network(
        (6,),
        ("table", "token_embedding", {"num_embeddings": 9, "embedding_dim": 9}),
        ("there", "lstm", {"hidden_size": 4, "output": 1}),
        ("back", "lstm", {"hidden_size": 4, "reverse": True, "output": 1, "inputs": ["table"]}),
        ("both", "concat", {"axis": 1, "inputs": ["there", "back"]}),
        ("fc", "linear", {"out_features": 2}),
        dtype="int",
    )
    tokens = np.random.default_rng(0).integers(0, 9, (2, 6))
    for suffix in WHOLE:
        fitted = fit(graph, read_weights(saved(model, suffix, tmp_path)))
        assert fitted.differences == ()
        predicts_as(graph, fitted.arrays, model, tokens, first=False)


def residual(k, keras):
    """Two branches with a gate, joined by a sum and by their channels, with a nested model and a shared layer."""
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), k.Conv2D(4, 3, padding="same", name="conv"), k.BatchNormalization(name="norm")],
        name="backbone",
    )
    x = keras.Input((8, 8, 3))
    y = k.Conv2D(4, 3, activation="relu", name="stem")(x)
    shared = k.Conv2D(4, 1, name="shared")
    a, b = shared(inner(y)), shared(y)
    gate = k.Conv2D(4, 1, activation="sigmoid", name="gate")(k.GlobalAveragePooling2D(keepdims=True)(a))
    z = k.Concatenate()([k.Multiply()([a, gate]), b, y])
    return keras.Model(x, k.Dense(3, name="fc")(k.Flatten()(k.ReLU()(z))))


def residual_here(*, swapped=False, conv="conv"):
    b = Builder("net")
    kinds = layer_kinds()
    one = {"out_channels": 4, "kernel_size": 1}
    y = b.add("stem", kinds["conv"](out_channels=4, kernel_size=3), b.input("input", (3, 8, 8)))
    y = b.add("r", kinds["relu"](), y)
    x = b.add(conv, kinds["conv"](out_channels=4, kernel_size=3, padding=1), y)
    x = b.add("shared", kinds["conv"](**one), b.add("norm", kinds["batch_norm"](eps=1e-3), x))
    again = b.add("again", kinds["conv"](**one), y, weights_of="shared")
    gate = b.add("gate", kinds["conv"](**one), b.add("p", kinds["global_avg_pool"](keep_spatial=True), x))
    x = b.add("m", kinds["multiply"](), x, b.add("s", kinds["sigmoid"](), gate))
    z = b.add("c", kinds["concat"](), *((again, x, y) if swapped else (x, again, y)))
    z = b.add("flat", kinds["flatten"](), b.add("r2", kinds["relu"](), z))
    return b.build({"output": b.add("fc", kinds["linear"](out_features=3), z)})


@pytest.mark.parametrize("conv", ["conv", "backbone.conv"])
def test_branches_a_nested_model_and_a_shared_layer(conv, keras, tmp_path):
    model = drawn(residual(keras.layers, keras))
    image = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
    graph = residual_here(conv=conv)
    for suffix in (*WHOLE, ".weights.h5"):
        predicts_as(graph, match(graph, read_weights(saved(model, suffix, tmp_path))), model, image)


def test_channels_that_are_joined_in_another_order_are_put_in_ours(keras, tmp_path):
    model = drawn(residual(keras.layers, keras))
    image = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
    graph = residual_here(swapped=True)
    predicts_as(graph, match(graph, read_weights(saved(model, ".keras", tmp_path))), model, image)


def test_names_of_keras_own_are_fitted_in_order_where_all_is_the_same(keras, tmp_path):
    k = keras.layers
    layers = [k.Conv2D(3, 3, padding="same"), k.BatchNormalization(), k.ReLU(), k.Conv2D(3, 3, padding="same"), *end(k)]
    model = drawn(keras.Sequential([keras.Input(IMAGE), *layers[:-1], k.Dense(2)]))
    image = np.random.default_rng(1).normal(size=(2, *IMAGE)).astype(np.float32)
    conv = {"out_channels": 3, "kernel_size": 3, "padding": 1}
    nodes = [("one", "conv", conv), ("norm", "batch_norm", {}), ("r", "relu", {}), ("two", "conv", conv), *END[:1]]
    graph = network(ONE, *nodes, ("last", "linear", {"out_features": 2}))
    fitted = fit(graph, read_weights(saved(model, ".keras", tmp_path)))
    assert fitted.notes[0].startswith("by order")
    predicts_as(graph, match(graph, read_weights(saved(model, ".keras", tmp_path))), model, image)
    other = network(ONE, nodes[0], nodes[2], nodes[1], *nodes[3:], ("last", "linear", {"out_features": 2}))
    with pytest.raises(DataError, match=r"norm reads relu\(one\) here, one in the file"):
        match(other, read_weights(saved(model, ".keras", tmp_path)))
    with pytest.raises(DataError, match="do not fit"):  # nothing but the names would say which is which
        match(graph, read_weights(saved(model, ".weights.h5", tmp_path)))


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
