"""Seeded weights and their files."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cnnbench.errors import DataError, SpecError
from cnnbench.registry import build
from cnnbench.spec import weights
from cnnbench.spec.draws import draw
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, Initializer, Linear, WeightSpec


def network(*, extra: bool):
    b = Builder("net")
    x = b.input("image", (3, 8, 8))
    if extra:
        x = b.add("stem", Conv(out_channels=3, kernel_size=3, padding=1), x)
    return b.build(b.add("conv", Conv(out_channels=4, kernel_size=3), x))


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    graph = build("lenet5")
    one, two, other = (weights.initialize(graph, seed) for seed in (3, 3, 4))
    assert weights.digest(one) == weights.digest(two)
    assert not np.array_equal(one["conv1.weight"], other["conv1.weight"])


def test_a_layer_s_weights_do_not_depend_on_other_layers():
    with_stem, without = (weights.initialize(network(extra=extra), 0) for extra in (True, False))
    np.testing.assert_array_equal(with_stem["conv.weight"], without["conv.weight"])


def test_these_bits_never_change():
    """Weights of version 0.1.0: published runs are comparable with later ones only while these stand."""
    drawn = weights.initialize(build("lenet5"), 0)
    assert drawn["conv1.weight"].dtype == np.float32
    key = hashlib.sha256(b"0\0weights\0conv1.weight\0" + b"0").digest()
    low, high = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
    generator = np.random.Generator(np.random.Philox(key=np.array([low, high], np.uint64)))
    known = generator.normal(0.0, np.sqrt(2.0) / np.sqrt(6 * 25), (6, 1, 5, 5))
    np.testing.assert_array_equal(drawn["conv1.weight"], known.astype(np.float32))


@pytest.mark.parametrize(
    ("initializer", "mean", "deviation"),
    [
        (Initializer("constant", 0.5), 0.5, 0.0),
        (Initializer("uniform", 0.3), 0.0, 0.3 / 3**0.5),
        (Initializer("normal", 0.02), 0.0, 0.02),
        (Initializer("kaiming_normal", 2**0.5, 50), 0.0, 0.2),
        (Initializer("kaiming_uniform", 2**0.5, 50), 0.0, 0.2),
        (Initializer("fan_in_uniform", 1.0, 100), 0.0, 0.1 / 3**0.5),
        (Initializer("signs"), 0.0, 1.0),
    ],
    ids=lambda value: getattr(value, "distribution", None),
)
def test_each_distribution_has_its_mean_and_deviation(initializer, mean, deviation):
    count = 200_000
    drawn = draw(WeightSpec("w", (count,), initializer), 0)
    assert abs(drawn.mean() - mean) <= 5 * deviation / count**0.5
    assert abs(drawn.std() - deviation) <= 0.02 * deviation


def test_signs_are_plus_and_minus_one_and_integers_those_within_the_scale():
    assert set(draw(WeightSpec("w", (64,), Initializer("signs")), 0)) == {-1.0, 1.0}
    assert set(draw(WeightSpec("w", (99,), Initializer("integers", 2)), 0)) == {-2.0, -1.0, 0.0, 1.0, 2.0}


def test_an_unknown_distribution_is_refused():
    with pytest.raises(SpecError, match="unknown distribution 'cauchy'"):
        draw(WeightSpec("w", (1,), Initializer("cauchy")), 0)


arrays = st.dictionaries(
    st.from_regex(r"[a-z]{1,4}(\.[a-z]{1,4}){0,2}", fullmatch=True),
    npst.arrays(st.sampled_from([np.float32, np.float64, np.float16]), npst.array_shapes(min_dims=0, min_side=0)),
    max_size=4,
)


@given(content=arrays)
def test_a_file_gives_back_the_same_bits(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    weights.save(content, path)
    again = weights.load(path)
    assert weights.digest(again) == weights.digest(content)


def test_arrays_that_are_not_contiguous_are_saved_by_value(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    weights.save({"a": array}, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(weights.load(tmp_path / "w.safetensors")["a"], array)


def test_a_single_number_keeps_its_shape(tmp_path):
    weights.save({"number": np.asarray(0.5, np.float32)}, tmp_path / "w.safetensors")
    assert weights.load(tmp_path / "w.safetensors")["number"].shape == ()


def test_saving_that_fails_leaves_no_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    weights.save({"a": np.zeros(2, np.float32)}, path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        weights.save({"a": np.ones(2, np.float32)}, path)
    assert [item.name for item in tmp_path.iterdir()] == ["w.safetensors"]
    assert path.read_bytes() == before


def test_bfloat16_is_read_as_the_equal_float32(tmp_path):
    values = np.array([1.0, -2.5, 3.0e38, 1e-40, 0.15625], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes("a", "BF16", [5], upper.tobytes()))
    loaded = weights.load(path)["a"]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded.view(np.uint32), upper.astype(np.uint32) << 16)


def safetensors_bytes(name: str, dtype: str, shape: list[int], data: bytes) -> bytes:
    header = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid safetensors"),
        (b"PK\x03\x04 a zip", "not valid safetensors"),
        (struct.pack("<Q", 2**60) + b"{}", "not valid safetensors"),
        (safetensors_bytes("a", "F32", [1000], b"\0" * 4), "not valid safetensors"),
        (safetensors_bytes("a", "C64", [4], b"\0" * 32), "dtype cannot be read"),
    ],
    ids=["empty", "zip", "huge header", "short", "complex"],
)
def test_a_file_that_is_not_one_is_refused(content, message, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        weights.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        weights.load(tmp_path / "none.safetensors")


def test_what_does_not_fit_is_listed():
    graph = build("lenet5")
    drawn = weights.initialize(graph, 0)
    weights.check_fits(graph, drawn, where="here")
    drawn["extra"] = drawn.pop("fc3.bias")
    drawn["fc2.bias"] = drawn["fc2.bias"][:3]
    with pytest.raises(DataError) as caught:
        weights.check_fits(graph, drawn, where="here")
    text = str(caught.value)
    assert "missing fc3.bias (10,)" in text
    assert "left over extra (10,)" in text
    assert "fc2.bias is (3,), expected (84,)" in text


def test_state_and_weights_part():
    graph = build("resnet20")
    held, state = weights.split_state(graph, weights.initialize(graph, 0))
    assert len(state) == 2 * 19
    assert not set(held) & set(state)
    assert all(name.endswith(("running_mean", "running_var")) for name in state)


@pytest.mark.parametrize(
    "change",
    [lambda a: a.astype(np.float64), lambda a: a.reshape(2, 2), lambda a: a + 1],
    ids=["dtype", "shape", "value"],
)
def test_a_digest_sees_dtype_shape_and_values(change):
    array = np.zeros(4, np.float32)
    assert weights.digest({"a": array}) != weights.digest({"a": change(array)})
    assert weights.digest({"a": array}) != weights.digest({"b": array})
    assert weights.digest({"a": array, "b": array}) == weights.digest({"b": array, "a": array})


def test_biases_and_norms_are_exempt_from_the_decay_of_kernels():
    b = Builder("net")
    graph = b.build(b.add("fc", Linear(out_features=2), b.input("features", (3,))))
    assert {spec.name: spec.decay for spec in graph.named_weights()} == {"fc.weight": True, "fc.bias": False}
