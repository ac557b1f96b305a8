"""Weights of other origin, fitted to a network by name, or by order, role and shape."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.hookspecs import hookimpl
from cnnbench.registry import build, plugin_manager, read_weights, weight_readers
from cnnbench.spec.graph import Builder
from cnnbench.spec.interchange.fitting import expected_shapes
from cnnbench.spec.interchange.weight_files import fit, match
from cnnbench.spec.interchange.weight_readers import SAFETENSORS, WeightReader
from cnnbench.spec.layers import BatchNorm, Conv, Linear
from cnnbench.spec.weights import initialize, save


@pytest.fixture
def graph():
    b = Builder("net")
    x = b.input("image", (4, 4, 4))
    for index in (1, 2):
        x = b.add(f"conv{index}", Conv(out_channels=4, kernel_size=3, padding=1, bias=False), x)
        x = b.add(f"bn{index}", BatchNorm(), x)
    return b.build(b.add("fc", Linear(out_features=4), x))


@pytest.fixture
def arrays(graph):
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in expected_shapes(graph).items()}


def as_checkpoint(arrays):
    """The same arrays as PyTorch's Sequential would name and order them: every other name, and step counters."""
    modules = {"conv1": "0", "bn1": "1", "conv2": "2", "bn2": "10", "fc": "11"}
    renamed = {}
    for name, array in arrays.items():
        module, _, role = name.rpartition(".")
        renamed[f"features.{modules[module]}.{role}"] = array
        if role == "running_var":
            renamed[f"features.{modules[module]}.num_batches_tracked"] = np.array(7)
    return renamed


def equal(one, two):
    return one.keys() == two.keys() and all(one[name] is two[name] for name in one)


def test_by_name_in_any_order_with_step_counters_and_a_wrapper_s_prefix(graph, arrays):
    given = {f"module.{name}": array for name, array in reversed(arrays.items())}
    given["module.bn1.num_batches_tracked"] = np.array(3)
    assert equal(match(graph, given), arrays)


def test_the_result_is_in_the_network_s_order(graph, arrays):
    assert list(match(graph, dict(reversed(arrays.items())))) == list(arrays)


def test_by_order_where_no_name_is_the_network_s(graph, arrays):
    assert equal(match(graph, as_checkpoint(arrays)), arrays)


def test_by_order_within_each_role_whatever_the_order_of_roles(graph, arrays):
    """Some files hold a norm's statistics before its scale; equal shapes must not mix them up."""
    given = as_checkpoint(arrays)
    roles = ("running_var", "running_mean", "bias", "weight")
    regrouped = {name: array for role in roles for name, array in given.items() if name.endswith(role)}
    assert equal(match(graph, regrouped), arrays)


def test_names_in_alphabetical_order_are_not_an_order_of_layers(graph, arrays):
    """features.10 sorts before features.2, and their shapes are equal: fitting them would be silently wrong."""
    given = as_checkpoint(arrays)
    with pytest.raises(DataError, match="alphabetical order"):
        match(graph, dict(sorted(given.items())))


def test_one_missing_name_is_told_and_not_fitted_by_order(graph, arrays):
    del arrays["bn2.running_var"]
    arrays["aux.weight"] = np.zeros(3, np.float32)
    with pytest.raises(DataError) as caught:
        match(graph, arrays, where="net.pth")
    text = str(caught.value)
    assert text.startswith("net.pth: ")
    assert "missing bn2.running_var (4,)" in text
    assert "left over aux.weight (3,)" in text


def test_a_wrong_count_or_shape_by_order_is_told(graph, arrays):
    given = as_checkpoint(arrays)
    given["features.0.weight"] = np.zeros((4, 4, 5, 5), np.float32)
    del given["features.11.bias"]
    with pytest.raises(DataError) as caught:
        match(graph, given)
    text = str(caught.value)
    assert "2 arrays named 'bias', expected 3" in text
    assert "features.0.weight (4, 4, 5, 5) stands where conv1.weight (4, 4, 3, 3) does" in text


def test_integers_are_not_weights(graph, arrays):
    arrays["fc.bias"] = np.zeros(4, np.int64)
    with pytest.raises(DataError, match="not floating-point") as caught:
        match(graph, arrays)
    assert "fc.bias (int64)" in str(caught.value)


def test_names_that_fall_together_are_refused(graph, arrays):
    arrays["module.fc.bias"] = arrays["fc.bias"]
    with pytest.raises(DataError, match=r"differ only in 'module\."):
        match(graph, arrays)


def test_nothing_is_refused_with_the_list_of_what_is_missing(graph):
    with pytest.raises(DataError, match="do not fit net"):
        match(graph, {})


def test_a_file_is_read_by_its_suffix_through_the_hook(tmp_path):
    graph = build("lenet5_1998")
    drawn = initialize(graph, 0)
    path = tmp_path / "w.SafeTensors"
    save(drawn, path)
    assert weight_readers()[".safetensors"] == SAFETENSORS
    assert {name: array.tobytes() for name, array in match(graph, read_weights(path)).items()} == {
        name: drawn[name].tobytes() for name in expected_shapes(graph)
    }


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 132735\n"


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pth.tar", "w.bin", "w.keras", "w.weights.h5", "w.h5"])
def test_a_pointer_of_git_lfs_is_named_whatever_it_stands_for(name, tmp_path):
    (tmp_path / name).write_text(POINTER, encoding="utf-8")
    with pytest.raises(DataError, match="a pointer of Git LFS") as caught:
        read_weights(tmp_path / name)
    assert "git lfs pull" in caught.value.remedy


def test_a_shard_that_is_a_pointer_is_named(tmp_path):
    (tmp_path / "a.safetensors").write_text(POINTER, encoding="utf-8")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"conv.weight": "a.safetensors"}}', encoding="utf-8")
    with pytest.raises(DataError, match="a pointer of Git LFS") as caught:
        read_weights(index)
    assert "a.safetensors" in str(caught.value.where)


def test_an_unknown_suffix_names_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"cannot end with '\.safetensor'") as caught:
        read_weights(tmp_path / "w.safetensor")
    assert caught.value.remedy == "did you mean '.safetensors'?"


def test_a_plugin_s_reader_is_asked_and_wins_over_the_core_s(tmp_path):
    class Plugin:
        @hookimpl
        def cnnbench_weight_readers(self):
            read = {".mine": "a", ".safetensors": "b"}
            return [WeightReader(name, (suffix,), lambda path, n=name: {n: path}) for suffix, name in read.items()]

    plugin = Plugin()
    plugin_manager().register(plugin)
    try:
        assert read_weights(tmp_path / "w.mine") == {"a": tmp_path / "w.mine"}
        assert read_weights(tmp_path / "w.safetensors") == {"b": tmp_path / "w.safetensors"}
    finally:
        plugin_manager().unregister(plugin)
    assert weight_readers()[".safetensors"] == SAFETENSORS


def under(prefix, arrays):
    return {f"{prefix}{name}": array for name, array in arrays.items()}


@pytest.mark.parametrize("prefix", ["net.", "model.", "encoder.", "a.b.c.", "module.model._orig_mod.", "0."])
def test_names_behind_any_prefix_decide_whatever_the_order(prefix, graph, arrays):
    given = under(prefix, dict(reversed(arrays.items())))
    assert equal(match(graph, given), arrays)
    assert equal(match(graph, dict(sorted(given.items()))), arrays)


def test_what_stands_beside_the_prefix_is_left_aside_aloud(graph, arrays):
    fitted = fit(graph, {**under("encoder_q.", arrays), "queue": np.zeros((4, 9), np.float32)})
    assert equal(fitted.arrays, arrays)
    assert fitted.notes == ("by the names behind 'encoder_q.'", "left aside, as not behind 'encoder_q.': queue")


def test_two_sets_of_the_network_s_names_are_refused(graph, arrays):
    for one, two in (("encoder_q.", "encoder_k."), ("", "ema.")):
        with pytest.raises(DataError, match="more than once") as caught:
            match(graph, {**under(one, arrays), **under(two, arrays)})
        assert repr(two) in caught.value.received


def test_of_two_sets_the_one_of_the_network_s_shapes_is_taken(graph, arrays):
    larger = {name: np.zeros((2 * array.shape[0], *array.shape[1:]), np.float32) for name, array in arrays.items()}
    assert equal(match(graph, {**under("teacher.", larger), **under("student.", arrays)}), arrays)


def test_a_prefix_of_the_network_s_own_names_may_be_missing_in_the_file():
    b = Builder("net")
    x = b.add("body.conv", Conv(out_channels=4, kernel_size=1), b.input("image", (4, 4, 4)))
    graph = b.build(b.add("body.norm", BatchNorm(), x))
    arrays = {name: np.ones(shape, np.float32) for name, shape in expected_shapes(graph).items()}
    given = {name.removeprefix("body."): array for name, array in reversed(arrays.items())}
    assert equal(match(graph, given), arrays)


def test_a_part_behind_a_prefix_is_told_by_what_is_missing(graph, arrays):
    del arrays["fc.weight"], arrays["fc.bias"]
    with pytest.raises(DataError, match=r"missing fc\.weight \(4, 4\); missing fc\.bias \(4,\)") as caught:
        match(graph, under("model.", arrays))
    assert "part of the network" in caught.value.remedy


def test_fitting_by_order_is_said(graph, arrays):
    assert fit(graph, as_checkpoint(arrays)).notes == ("by order, as no name in the file is one of net's",)


@pytest.mark.parametrize(
    "names",
    [
        ("second", "b2", "first", "b1", "head"),  # made in another order than used
        ("stem", "stem_bn", "body", "body_bn", "head"),  # nothing says that the stem comes first
        ("layers.3", "layers.4", "layers.0", "layers.1", "layers.5"),  # numbered against their order
    ],
)
def test_what_could_be_exchanged_is_not_fitted_by_order(names, graph, arrays):
    modules = dict(zip(("conv1", "bn1", "conv2", "bn2", "fc"), names, strict=True))
    given = {f"{modules[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": array for n, array in arrays.items()}
    with pytest.raises(DataError, match="could be exchanged") as caught:
        match(graph, given)
    assert f"{names[0]} and {names[2]}" in caught.value.received
    assert "rename" in caught.value.remedy


def test_arrays_of_several_modules_do_not_make_one_node():
    b = Builder("net")
    x = b.add("one", Conv(out_channels=2, kernel_size=1, bias=False), b.input("image", (4, 4, 4)))
    graph = b.build(b.add("two", Conv(out_channels=3, kernel_size=1), x))
    given = {"b.weight": (2, 4, 1, 1), "b.bias": (3,), "a.weight": (3, 2, 1, 1)}
    with pytest.raises(DataError, match="several modules"):
        match(graph, {name: np.ones(shape, np.float32) for name, shape in given.items()})


def test_booleans_and_integers_beside_the_weights_are_left_aside_aloud(graph, arrays):
    given = {**arrays, "anchors": np.arange(3), "bn1.mask": np.ones(4, bool)}
    assert fit(graph, given).notes == ("left aside, as no floating-point numbers: anchors (int64), bn1.mask (bool)",)
    given["fc.bias"] = np.ones(4, bool)
    with pytest.raises(DataError, match=r"fc\.bias \(bool\)") as caught:
        match(graph, given)
    assert caught.value.expected
    assert caught.value.remedy
