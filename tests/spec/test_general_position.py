"""Weights in general position: no array can be left out, exchanged or ignored, and signals keep their size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import architectures, build
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, FrozenBatchNorm, Linear, Signal
from cnnbench.spec.layers.arithmetic import Parameter
from cnnbench.spec.layers.recurrent import LSTM
from cnnbench.spec.layers.signals import added, rectified
from cnnbench.spec.passes import lower
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import at_identity, general_position, initialize, split_state


def recurrent():
    b = Builder("recurrent")
    return b.build(b.add_all("lstm", LSTM(hidden_size=8), b.input("x", (5, 6)))[0])


@pytest.mark.parametrize("name", ["resnet20", "lenet5", "mobilenet_v3_small", "recurrent"])
def test_no_array_is_an_identity_and_no_value_occurs_twice(name):
    graph = recurrent() if name == "recurrent" else build(name)
    arrays = general_position(graph, 0)
    assert set(arrays) == {spec.name for spec in (*graph.named_weights(), *graph.named_state())}
    assert at_identity(graph, arrays) == ()
    assert at_identity(graph, initialize(graph, 0)) != () or name == "recurrent"  # whose biases are drawn
    heads = [array.reshape(-1)[0] for array in arrays.values()]
    assert len(set(heads)) == len(heads)
    for key, array in arrays.items():
        assert array.dtype == np.float32
        if array.ndim == 1:  # scales, shifts, statistics, biases
            assert np.unique(array).size > 0.99 * array.size, key  # float32 has few values
            assert np.abs(array).min() > 0.04, key
            assert np.abs(np.abs(array) - 1).min() > 0.1, key
        if key.endswith("running_var"):
            assert array.min() >= 0.5


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    graph = build("lenet5")
    one, two, other = (general_position(graph, seed) for seed in (3, 3, 4))
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
        assert not np.array_equal(array, other[name])
        assert not np.array_equal(array, initialize(graph, 3)[name])


def test_what_is_fixed_stays_what_it_is_and_frozen_norms_are_drawn():
    b = Builder("fixed")
    x = b.add("norm", FrozenBatchNorm(), b.input("image", (3, 4, 4)))
    constant = b.add("constant", Parameter(shape=(1, 3, 1, 1), trainable=False, distribution="constant", scale=2.0))
    gate = b.add("gate", Parameter(shape=(1, 3, 1, 1), distribution="constant", scale=2.0))
    graph = b.build([x, constant, gate])
    arrays = general_position(graph, 0)
    assert (arrays["constant.value"] == 2).all()
    assert (np.abs(arrays["gate.value"] / 2 - 1) > 0.1).all()
    assert at_identity(graph, arrays) == ()
    assert [name for name in arrays if name.startswith("norm.")] == list(at_identity(graph, initialize(graph, 0)))[:4]


def test_an_array_is_at_identity_where_its_values_are_0_or_1_or_all_equal():
    b = Builder("net")
    x = b.add("conv", Conv(out_channels=2, kernel_size=1), b.input("image", (1, 2, 2)))
    graph = b.build(b.add("norm", BatchNorm(), x))
    arrays = general_position(graph, 0)

    def found(**changed):
        return at_identity(graph, {**arrays, **{name.replace("_", ".", 1): np.array(v) for name, v in changed.items()}})

    assert found(norm_bias=[0.0, 0.0]) == ("norm.bias",)
    assert found(norm_running_var=[1.0, 1.0]) == ("norm.running_var",)
    assert found(norm_weight=[1e-6, 1e-6]) == ("norm.weight",)
    assert found(norm_bias=[0.0, 0.1]) == ()


def test_signals_are_estimated_by_the_moments_of_normal_values():
    x = np.random.default_rng(0).normal(0.5, 1.0, 1_000_000)
    before = Signal(1.25, 0.5)
    for slope in (0.0, 0.25):
        y = np.maximum(x, slope * x)
        np.testing.assert_allclose(rectified(before, slope), (np.mean(y * y), y.mean()), rtol=0.01)
    total = x + np.maximum(np.random.default_rng(1).normal(size=x.size), 0)
    sums = added((before, rectified(Signal(1.0))))
    np.testing.assert_allclose(sums, (np.mean(total**2), total.mean()), rtol=0.01)


def sizes(name: str, side: int | None):
    """The root mean square of each float that a computing node gives, and how far two images' outputs differ."""
    image = None if side is None else (architectures()[name].facts.input[0], side, side)
    graph = lower(build(name, image=image))
    values = [node.name for node in graph.nodes if graph.dtypes[node.name] == "float" and node.inputs]
    watched = replace(graph, outputs=tuple((value, value) for value in values))
    program = loaded_backend("numpy").compile_forward(watched, ProgramOptions("fast", precision("float32")))
    program.load(*split_state(graph, general_position(graph, 0)))
    batch = {i.name: stream(0, "images", i.name).normal(size=i.full_shape(2)).astype(np.float32) for i in graph.inputs}
    outputs = program.download(program.run(program.upload(batch))).outputs
    main = outputs[graph.outputs[0][1]]
    kinds = {node.name: node.layer.kind for node in graph.nodes}
    found = {value: float(np.sqrt(np.mean(np.square(array, dtype=float)))) for value, array in outputs.items()}
    large = {
        value for value in found if ".attn." in value or kinds[value] == "radial_basis"
    }  # masks of -100, distances
    return {value: size for value, size in found.items() if value not in large}, float(
        np.abs(main[0] - main[1]).mean() / np.abs(main).mean()
    )


CHEAP = {"resnet20": None, "mobilenet_v3_small": 32, "lenet5": None, "plain110": 16, "efficientnet_b0": 32}
# Of the others 32 where no larger image is needed, or wanted for what many values do.
LARGER = {
    **dict.fromkeys(("lenet5_1998", "resnet110", "inception_v3"), None),
    **dict.fromkeys(("resnet152", "densenet201", "efficientnet_b7", "nfnet_f0", "hrnet_w32", "vit_l_16"), 64),
    **dict.fromkeys(("googlenet", "mobilenet_v2", "squeezenet1_0", "alexnet", "dcgan_discriminator"), 64),
    "swin_s": 56,
    "alexnet_2012": 75,
    "unet": 188,
}
OTHERS = sorted(set(architectures()) - set(CHEAP))


def side_of(name: str) -> int | None:
    """Of the images that a network of ``OTHERS`` gets; None for its own, and where it reads no images."""
    return LARGER.get(name, 32 if len(architectures()[name].facts.input) == 3 else None)


@pytest.mark.parametrize(
    ("name", "side"),
    [*CHEAP.items(), *(pytest.param(name, side_of(name), marks=pytest.mark.slow, id=name) for name in OTHERS)],
)
def test_a_signal_neither_grows_nor_dies(name, side):
    found, differ = sizes(name, side)
    assert max(found.values()) < 20, max(found, key=found.get)
    assert min(found.values()) > 1e-3, min(found, key=found.get)
    assert differ > 1e-5  # what comes in still shows at the end


def test_a_dense_layer_of_a_new_kind_without_a_word_keeps_variances():
    b = Builder("net")
    graph = b.build(b.add("fc", Linear(out_features=400, bias=False), b.input("x", (300,))))
    weight = general_position(graph, 0)["fc.weight"]
    assert abs(weight.std() * 300**0.5 - 1) < 0.02
