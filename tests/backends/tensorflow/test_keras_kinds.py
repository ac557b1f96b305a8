"""Files of Keras read from their configuration: our network predicts what Keras does, or the difference is named."""

from __future__ import annotations

import numpy as np
import pytest
from keras_networks import CONV, END, IMAGE, ONE, SERIES, WHOLE, drawn, end, network, predicts_as, saved

import cnnbench
from cnnbench.errors import DataError
from cnnbench.registry import read_weights
from cnnbench.spec.graph import Builder
from cnnbench.spec.interchange.weight_files import fit, match
from cnnbench.spec.kinds import layer_kinds

pytest.importorskip("h5py", reason="needs h5py, which TensorFlow brings")
pytestmark = pytest.mark.tensorflow


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
