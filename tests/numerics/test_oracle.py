"""The oracle and its cache: exact values, teacher forcing, reuse, limits, damage."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.cache import Cache
from cnnbench.numerics.case import Case
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.teacher_forcing import (
    forced_name,
    representatives,
    resize_images,
    resized,
    teacher_forced,
    with_noise,
)
from cnnbench.registry import build
from cnnbench.spec.weights import general_position

FLOAT32 = ProgramOptions("reference", precision("float32"))


def case_of(name: str, seed: int = 0, options: ProgramOptions = FLOAT32, size: int = 2) -> Case:
    graph = build(name)
    x = np.random.default_rng(seed).normal(size=(size, *graph.inputs[0].shape)).astype(np.float32)
    return Case(graph, general_position(graph, seed), {graph.inputs[0].name: x}, options, seed=seed)


def test_every_node_is_fed_its_predecessors_exact_values_rounded_to_storage(tmp_path):
    case = case_of("lenet5")
    oracle = Oracle(case, Cache(tmp_path))
    graph = case.lowered
    for node in graph.nodes[1:]:
        source = node.inputs[0]
        if source in {other.name for other in graph.nodes}:
            exact = oracle.outputs(source).values[0]
            fed = oracle.inputs(node.name)[0]
            assert fed.dtype == np.float32
            assert np.array_equal(fed, exact.astype(np.float32))
    # one node alone on those operands is what the oracle says
    node = graph.nodes[3]
    alone = reference().subject.forward(
        teacher_forced(graph, [node.name], 2),
        case.stored,
        {forced_name(node.name, i): x for i, x in enumerate(oracle.inputs(node.name))},
        reference_options(),
    )
    assert np.array_equal(alone.outputs[node.name], oracle.outputs(node.name).values[0])


def test_an_answer_is_computed_once_and_read_again(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    first = Oracle(case_of("lenet5"), cache).outputs("conv1").values[0]
    monkeypatch.setattr("cnnbench.numerics.oracle.forward_budget", None)  # computing again would fail
    again = Oracle(case_of("lenet5"), cache).outputs("conv1").values[0]
    assert not again.flags.writeable
    assert np.array_equal(first, again)


def test_the_key_follows_graph_arrays_inputs_precision_and_seed():
    base = case_of("lenet5")
    others = [
        case_of("lenet5", seed=1),
        case_of("lenet5", options=ProgramOptions("reference", precision("float64"))),
        case_of("lenet5", size=1),
    ]
    keys = {case.key("local") for case in (base, *others)}
    assert len(keys) == 4
    assert base.key("local") == case_of("lenet5").key("local")
    faster = ProgramOptions("another mode", precision("float32"), fold_batch_norm=True)
    assert case_of("lenet5", options=faster).key("local") == base.key("local")  # shared between backends
    assert base.key("gradient") != base.key("local")


def test_the_least_recently_used_entries_go_when_the_folder_is_too_large(tmp_path):
    cache = Cache(tmp_path, limit_bytes=2000)
    for i, key in enumerate(("a", "b")):
        cache.entry(key, lambda entry: entry.write("x", np.zeros(100)))
        os.utime(tmp_path / key, (i, i))
    cache.entry("a", pytest.fail)  # used again: now b is the oldest
    cache.entry("c", lambda entry: entry.write("x", np.zeros(100)))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c"}


def test_an_entry_is_whole_or_not_there(tmp_path):
    cache = Cache(tmp_path)

    def interrupted(entry):
        entry.write("x", np.zeros(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.entry("key", interrupted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [300, 30000])
@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:40], lambda data: data[:-1]], ids=["empty", "begun", "cut"]
)
def test_a_damaged_file_is_named(tmp_path, damage, size):
    cache = Cache(tmp_path)
    path = cache.entry("key", lambda entry: entry.write("x", np.zeros(size))).path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="damaged"):
        cache.entry("key", pytest.fail).read("x")


def test_an_array_that_was_not_written_or_whose_file_has_gone_is_named(tmp_path):
    entry = Cache(tmp_path).entry("key", lambda entry: entry.write("x", np.zeros(3)))
    with pytest.raises(DataError, match="damaged: 'y'"):
        entry.read("y")
    entry.path.unlink()
    with pytest.raises(DataError, match="No such file"):
        entry.read("x")


@pytest.mark.parametrize(
    "array",
    [
        np.float64(2.5),
        np.zeros((0, 3), np.float32),
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
        np.array("text"),
        np.array([True, False]),
        np.arange(40000, dtype=np.float32).reshape(100, 400).T,
        np.array([1 + 2j]),
    ],
    ids=["scalar", "empty", "transposed", "text", "bool", "large", "complex"],
)
@pytest.mark.parametrize("beside", [1, 100000], ids=["small_file", "large_file"])
def test_arrays_come_back_as_they_were_and_cannot_be_written_to(tmp_path, array, beside):
    def fill(entry):
        for name, values in (("before", np.zeros(beside, np.int8)), ("x", array), ("after", np.ones(beside, np.int8))):
            entry.write(name, values)
            assert np.array_equal(entry.read(name), values)  # while it is filled, too

    entry = Cache(tmp_path).entry("key", fill)
    found = entry.read("x")
    assert (found.dtype, found.shape) == (np.asarray(array).dtype, np.asarray(array).shape)
    assert np.array_equal(found, array)
    assert not found.flags.writeable
    assert [entry.has(name) for name in ("before", "x", "y")] == [True, True, False]


def test_objects_are_not_kept(tmp_path):
    with pytest.raises(TypeError, match="objects"):
        Cache(tmp_path).entry("key", lambda entry: entry.write("x", np.array([{}])))
    assert list(tmp_path.iterdir()) == []


def test_entries_of_earlier_versions_were_folders_and_go_like_others(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x.npy").write_bytes(bytes(5000))
    os.utime(tmp_path / "old", (1, 1))
    Cache(tmp_path, limit_bytes=2500).entry("new", lambda entry: entry.write("x", np.zeros(100)))
    assert {path.name for path in tmp_path.iterdir()} == {"new"}


def test_noise_of_zero_changes_nothing_and_noise_reaches_the_output():
    case = case_of("lenet5")
    graph = with_noise(case.lowered, [node.name for node in case.lowered.nodes])
    extra = {
        item.name: np.zeros((2, *item.shape), np.float32) for item in graph.inputs if item.name.startswith("noise.")
    }
    subject = reference().subject
    clean = subject.forward(case.lowered, case.stored, case.inputs, reference_options()).outputs["logits"]
    zero = subject.forward(graph, case.stored, {**case.inputs, **extra}, reference_options()).outputs["logits"]
    assert np.array_equal(clean, zero)
    for name in extra:
        moved = {**extra, name: extra[name] + 0.5}
        loud = subject.forward(graph, case.stored, {**case.inputs, **moved}, reference_options()).outputs["logits"]
        assert not np.array_equal(clean, loud), name


def test_equal_layers_on_equal_shapes_have_one_representative():
    graph = build("resnet20")
    chosen = representatives(graph, 2)
    seen = {(graph.node(name).layer, graph.input_shapes(graph.node(name), 2)) for name in chosen}
    assert len(seen) == len(chosen)
    assert seen == {(node.layer, graph.input_shapes(node, 2)) for node in graph.nodes}


def test_large_networks_are_reduced_where_their_layers_allow_it():
    large = build("resnet18")
    smaller = resized(large, 64)
    assert smaller is not None
    assert smaller.inputs[0].shape == (3, 64, 64)
    assert [n.layer for n in smaller.nodes] == [n.layer for n in large.nodes]
    assert resized(build("lenet5"), 64) is None  # its linear layers need the size
    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    from cnnbench.spec.graph import Builder
    from cnnbench.spec.layers import ReLU

    builder = Builder("x")
    half = builder.build(builder.add("relu", ReLU(), builder.input("image", (1, 2, 2))))
    blocks = resize_images({"image": image}, half)["image"]
    assert blocks.tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
