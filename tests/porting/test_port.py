"""Two networks beside each other: the same one in other words is the same, and what differs is named, worst first."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

import cnnbench
from cnnbench.errors import DataError, SpecError
from cnnbench.face.networks import Model
from cnnbench.porting.arrays_apart import apart, same
from cnnbench.porting.report import lines, to_html, to_json, to_markdown
from cnnbench.porting.values_apart import distance
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import (
    ELU,
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    InstanceNorm,
    Linear,
    MaxPool,
    Pad,
    ReLU,
    ReLU6,
)
from cnnbench.spec.layers.arithmetic import Clip
from cnnbench.spec.layers.shape import Transpose
from cnnbench.spec.layers.smooth import CELU
from cnnbench.spec.weights import general_position


def network(**changes):
    layers = {
        "conv": Conv(out_channels=4, kernel_size=3, padding=1),
        "bn": BatchNorm(),
        "relu": ReLU(),
        "pool": MaxPool(kernel_size=2),
        "flat": Flatten(),
        "drop": Dropout(p=0.5),
        "fc": Linear(out_features=5),
    }
    layers |= changes
    b = Builder("small")
    x = b.input("image", (3, 6, 6))
    for name, layer in layers.items():
        x = b.add(name, layer, x) if layer is not None else x
    return b.build(x)


REFERENCE = network()
ARRAYS = general_position(REFERENCE, 0)


def ported(graph=REFERENCE, arrays=ARRAYS, **how):
    expected = {item.name for item in (*graph.named_weights(), *graph.named_state())}
    return cnnbench.port(Model(REFERENCE, ARRAYS), Model(graph, {name: arrays[name] for name in expected}), **how)


def named(result):
    return [(item.what, item.node, item.name) for item in result.counted]


def test_a_network_is_its_own_port():
    result = ported()
    assert result.same
    assert result.exit_code == 0
    assert result.aligned == len(REFERENCE.nodes)


def test_the_same_in_other_words_is_the_same():
    b = Builder("other")
    x = b.add("p", Pad(padding=((0, 0), (1, 1), (1, 1))), b.input("x", (3, 6, 6)))
    x = b.add("c", Conv(out_channels=4, kernel_size=3), x)
    x = b.add("last", Transpose(permutation=(0, 2, 3, 1)), b.add("n", BatchNorm(), x))
    x = b.add("r", Clip(minimum=0.0), x)
    x = b.add("m", MaxPool(kernel_size=2), b.add("first", Transpose(permutation=(0, 3, 1, 2)), x))
    x = b.add("f", Flatten(), b.add("turned", Transpose(permutation=(0, 2, 3, 1)), x))
    graph = b.build(b.add("l", Linear(out_features=5), b.add("d", Dropout(p=0.5), x)))
    names = {"conv": "c", "bn": "n", "fc": "l"}
    arrays = {f"{names[k.partition('.')[0]]}.{k.partition('.')[2]}": v for k, v in ARRAYS.items()}
    order = np.moveaxis(np.arange(36).reshape(4, 3, 3), 0, -1).reshape(-1)
    arrays["l.weight"] = arrays["l.weight"][:, order]
    result = cnnbench.port(Model(REFERENCE, ARRAYS), Model(graph, arrays))
    assert result.same, [item.text for item in result.differences]
    arrays["l.weight"] = ARRAYS["fc.weight"]
    result = cnnbench.port(Model(REFERENCE, ARRAYS), Model(graph, arrays))
    assert "order of another flattening" in result.counted[0].text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bn": BatchNorm(eps=1e-3)}, ("field", "bn", "eps")),
        ({"relu": ReLU6()}, ("kind", "relu", "kind")),
        ({"relu": None}, ("missing", "relu", "")),
        ({"conv": Conv(out_channels=4, kernel_size=3, padding=((0, 2), (0, 2)))}, ("field", "conv", "padding")),
        ({"conv": Conv(out_channels=4, kernel_size=3, padding=1, bias=False)}, ("field", "conv", "bias")),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_what_differs_is_named(change, expected):
    result = ported(network(**change))
    assert named(result) == [expected]
    assert result.exit_code == 4
    assert (result.parting is None) == (expected[0] == "kind")  # no value here lies above 6


def test_the_worst_comes_first():
    arrays = {**ARRAYS, "bn.running_mean": ARRAYS["bn.running_mean"] * 0}
    result = ported(network(bn=BatchNorm(eps=1.00001e-5), conv=Conv(out_channels=4, kernel_size=3, padding=1)), arrays)
    assert {item.name for item in result.counted} == {"eps", "running_mean"}
    weights = {**ARRAYS, "conv.weight": ARRAYS["conv.weight"][..., ::-1, ::-1], "fc.bias": ARRAYS["fc.bias"] + 1e-4}
    found = ported(arrays=weights).counted
    assert [item.node for item in found] == ["conv", "fc"]
    assert found[0].size > found[1].size > 0


def test_training_counts_when_it_is_asked_for():
    graph = network(bn=BatchNorm(momentum=0.9), drop=Dropout(p=0.2))
    assert ported(graph).same
    result = ported(graph, train=True)
    assert named(result) == [("field", "bn", "momentum"), ("field", "drop", "p")]
    assert result.exit_code == 4


def test_an_extra_layer_moves_nothing():
    b = Builder("longer")
    x = b.input("image", (3, 6, 6))
    for node in REFERENCE.nodes:
        x = b.add(node.name, node.layer, x)
        x = b.add("more", ReLU6(), x) if node.name == "relu" else x
    assert named(ported(b.build(x))) == [("extra", "more", "")]


def test_other_inputs_are_refused():
    b = Builder("other")
    graph = b.build(b.add("pool", GlobalAvgPool(), b.input("image", (1, 6, 6))))
    with pytest.raises(SpecError, match="do not take the same inputs"):
        cnnbench.port(Model(REFERENCE, ARRAYS), Model(graph, {}))


def test_a_model_that_lacks_an_array_is_refused_by_name():
    lacking = {name: array for name, array in ARRAYS.items() if name != "fc.bias"}
    with pytest.raises(DataError, match="the weights do not fit") as raised:
        cnnbench.port(Model(REFERENCE, ARRAYS), Model(REFERENCE, lacking))
    assert "missing fc.bias" in str(raised.value)
    with pytest.raises(DataError, match="the weights do not fit"):
        cnnbench.load(Model(REFERENCE, lacking))
    assert cnnbench.port(
        Model(REFERENCE, ARRAYS), Model(REFERENCE, {**ARRAYS, "unused.weight": ARRAYS["fc.bias"]})
    ).same


RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32)
ROWS = RANDOM.normal(size=(16, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("one", "two", "kind", "role", "expected"),
    [
        (KERNEL, KERNEL[..., ::-1, ::-1], "conv", "weight", "flipped"),
        (KERNEL, KERNEL[:, ::-1], "conv", "weight", "BGR"),
        (KERNEL, KERNEL.transpose(0, 1, 3, 2), "conv", "weight", "transposed"),
        (KERNEL, KERNEL.transpose(2, 3, 1, 0), "conv", "weight", "transposed"),
        (KERNEL, KERNEL[[2, 0, 1, 3]], "conv", "weight", "outputs in another order: 2, 0, 1, 3"),
        (KERNEL, 2 * KERNEL, "conv", "weight", "scaled: 2 times"),
        (KERNEL, 0 * KERNEL, "conv", "weight", "not loaded"),
        (KERNEL, RANDOM.normal(size=KERNEL.shape), "conv", "weight", "other values"),
        (ROWS, ROWS.reshape(4, 4, 5)[[0, 2, 1, 3]].reshape(16, 5), "lstm", "weight_ih", "gates in the order igfo"),
        (ROWS[0] + 1, ROWS[0] * 0 + 1, "batch_norm", "running_var", "not loaded"),
    ],
)
def test_how_arrays_differ(one, two, kind, role, expected):
    assert expected in apart(one, np.asarray(two), kind, role)


def test_what_float32_rounds_is_the_same():
    values = RANDOM.normal(size=100)
    assert same(values, values.astype(np.float32))
    assert not same(values, values * (1 + 1e-5))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_arrays_that_are_not_finite_are_the_same_only_where_they_are_alike(value):
    one = np.arange(6.0)
    one[2] = value
    two, elsewhere, finite = one.copy(), np.roll(one, 1), np.where(np.isfinite(one), one, 2.0)
    assert same(one, two)
    assert not same(one, elsewhere)
    assert not same(one, finite)
    assert not same(finite, one)
    two[5] = 7.0
    assert not same(one, two)


def test_the_report_says_it_in_every_form(tmp_path):
    graph = replace(network(bn=BatchNorm(eps=1e-3)), name="<script>")
    result = ported(graph, folder=tmp_path)
    data = json.loads(json.dumps(to_json(result), allow_nan=False))
    assert data["same"] is False
    assert data["first_parting"]["node"] == "bn"
    assert "bn: eps 1e-05 here, 0.001 in the candidate" in "\n".join(lines(result))
    assert "| bn | eps | 1e-05 | 0.001 |" in to_markdown(result)
    assert "<script>" not in to_html(result)
    arrays = load_file(result.parting.file)
    np.testing.assert_array_equal(arrays["reference.array.weight"], ARRAYS["bn.weight"])
    assert np.abs(arrays["reference.output"] - arrays["candidate.output"]).max() > 0


def activations(**changes):
    """The input and some activations of the reference in float32, with channels last and by other names."""
    from cnnbench.porting.normal_form import PlainNetwork
    from cnnbench.porting.values_apart import values_of

    images = np.random.default_rng(1).normal(size=(2, 3, 6, 6)).astype(np.float32)
    values = values_of(PlainNetwork(REFERENCE, ARRAYS, {}), [images])
    found = {"input": images, "first": np.moveaxis(values["conv"], 1, -1), "act": values["relu"], "out": values["fc"]}
    return {name: np.asarray(array, np.float32) for name, array in (found | changes).items()}


def test_saved_activations_are_compared_in_their_order(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, **activations())
    result = cnnbench.port(Model(REFERENCE, ARRAYS), path)
    assert result.same
    assert result.aligned == 3
    np.savez(path, **activations(act=activations()["act"] * 1.01))
    result = cnnbench.port(Model(REFERENCE, ARRAYS), path)
    assert result.exit_code == 4
    assert result.parting.node == "relu"
    assert result.parting.other == "act"
    assert "relu (act)" in "\n".join(lines(result))


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [({"x": np.zeros(3)}, "the input of the activations"), ({"input": np.zeros((1, 3, 6, 6))}, "no activations")],
)
def test_activations_alone_are_no_answer(tmp_path, arrays, expected):
    np.savez(tmp_path / "run.npz", **arrays)
    with pytest.raises(DataError, match=expected):
        cnnbench.port(Model(REFERENCE, ARRAYS), tmp_path / "run.npz")


def test_a_graph_that_is_not_the_model_is_never_the_same():
    from cnnbench.porting.port import Side, compare_networks

    side = Side("mine", REFERENCE, ARRAYS, unproven=1e-2)
    result = compare_networks(Side("theirs", REFERENCE, ARRAYS), side)
    assert result.exit_code == 4
    assert "the model itself gives other outputs" in result.counted[0].text
    assert compare_networks(Side("theirs", REFERENCE, ARRAYS), replace(side, beyond=0.5)).same


@pytest.mark.parametrize(
    ("one", "two", "apart"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], 0.0),
        ([np.inf, 2.0], [np.inf, 1.0], 0.5),
        ([1.0, 2.0], [np.nan, 2.0], np.inf),
        ([np.nan, 2.0], [1.0, 2.0], np.inf),
        ([np.inf, 2.0], [-np.inf, 2.0], np.inf),
        ([np.inf, 2.0], [2.0, 2.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_values_that_are_not_finite_differ_where_only_one_of_them_is(one, two, apart):
    assert distance(np.array(one), np.array(two)) == apart
    assert max(0.0, distance(np.array(one), np.array(two))) == apart  # which NaN would not be


def test_a_value_that_is_no_number_is_found_at_its_node():
    arrays = {**ARRAYS, "fc.bias": np.array([np.nan, *ARRAYS["fc.bias"][1:]])}
    result = ported(arrays=arrays)
    assert result.exit_code == 4
    assert (result.parting.node, result.parting.index) == ("fc", (0, 0))
    both = cnnbench.port(Model(REFERENCE, arrays), Model(REFERENCE, arrays))
    assert both.parting is None


def small(*layers):
    b = Builder("small")
    x = b.input("image", (4, 8, 8))
    for i, layer in enumerate(layers):
        x = b.add(f"layer{i}", layer, x)
    graph = b.build(x)
    return Model(graph, general_position(graph, 0))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (AvgPool(kernel_size=2, stride=2, ceil_mode=True), AvgPool(kernel_size=2, stride=2)),
        (AdaptiveAvgPool(output_size=(2, 4)), AvgPool(kernel_size=(4, 2), stride=(4, 2))),
        (GroupNorm(groups=4), InstanceNorm(affine=True)),
        (CELU(alpha=1.0), ELU()),
    ],
)
def test_layers_that_compute_the_same_are_the_same(one, two):
    ours, theirs = small(one), small(two)
    result = cnnbench.port(ours, Model(theirs.graph, ours.arrays))
    assert result.same, [item.text for item in result.counted]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (AvgPool(kernel_size=3, stride=2, ceil_mode=True), AvgPool(kernel_size=3, stride=2)),
        (AdaptiveAvgPool(output_size=(3, 3)), AvgPool(kernel_size=3, stride=2)),
        (GroupNorm(groups=2), InstanceNorm(affine=True)),
        (CELU(alpha=2.0), ELU(alpha=2.0)),
    ],
)
def test_layers_that_are_nearly_the_same_are_not(one, two):
    ours, theirs = small(one), small(two)
    assert not cnnbench.port(ours, Model(theirs.graph, ours.arrays)).same


@pytest.mark.parametrize(
    ("without", "more", "idle", "moving"),
    [
        (
            Conv(out_channels=2, kernel_size=3, bias=False),
            Conv(out_channels=2, kernel_size=3),
            {"bias": 0},
            {"bias": 1},
        ),
        (BatchNorm(affine=False), BatchNorm(), {"weight": 1, "bias": 0}, {"weight": 2, "bias": 0}),
    ],
)
def test_a_bias_or_a_scale_that_does_nothing_yet_counts_in_training(without, more, idle, moving):
    ours, theirs = small(without), small(more)

    def filled(values):
        arrays = {name: ours.arrays.get(name, array) for name, array in theirs.arrays.items()}
        return Model(
            theirs.graph, arrays | {f"layer0.{k}": np.full_like(arrays[f"layer0.{k}"], v) for k, v in values.items()}
        )

    assert cnnbench.port(ours, filled(idle)).same
    assert cnnbench.port(filled(idle), ours).same
    assert not cnnbench.port(ours, filled(idle), train=True).same
    assert not cnnbench.port(ours, filled(moving)).same
