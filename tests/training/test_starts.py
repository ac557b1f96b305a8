"""How training starts: unit variances by the data, weights of another file, a deep network from a shallow one."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from small_suite import small_suite

from cnnbench.cli.entry import execute
from cnnbench.errors import DataError, SuiteError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.plan import plan
from cnnbench.registry import build
from cnnbench.spec.graph import Builder
from cnnbench.spec.initializers import kernel_nodes
from cnnbench.spec.layers import Conv, Flatten, Linear, ReLU
from cnnbench.spec.passes import lower
from cnnbench.spec.warm_start import from_shallow, same_names
from cnnbench.spec.weights import digest, initialize, load, save, split_state
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.lsuv import TOLERANCE
from cnnbench.training.starts import IMAGES, Shallow, WeightStart, started


def deep_chain(depth):
    builder = Builder("chain")
    x = builder.input("image", (1, 8, 8))
    for number in range(depth):
        x = builder.add(f"conv{number}", Conv(out_channels=8, kernel_size=3, padding=1), x)
        x = builder.add(f"relu{number}", ReLU(), x)
    x = builder.add("flat", Flatten(), x)
    return builder.build({"logits": builder.add("head", Linear(out_features=10), x)})


def variances(graph, arrays, images):
    names = tuple(kernel_nodes(lower(graph)))
    program = load_backend("numpy").compile_forward(
        lower(graph).prefix(names), ProgramOptions("fast", precision("float32"))
    )
    program.load(*split_state(lower(graph).prefix(names), arrays))
    found = program.download(program.run(program.upload({"image": images}))).outputs
    return [float(np.asarray(found[name], np.float64).var()) for name in names]


def test_lsuv_gives_every_layer_outputs_of_variance_1_where_other_rules_let_them_die():
    graph = deep_chain(12)
    images = load_dataset("digits", DataRequest("train", (1, 8, 8), limit=IMAGES, seed=0)).images
    found, taken = started(graph, 0, WeightStart("lsuv", "digits"))
    assert taken == ()
    assert all(abs(value - 1) < TOLERANCE for value in variances(graph, found, images))
    plain, _ = started(graph, 0, WeightStart("orthogonal"))
    assert variances(graph, plain, images)[-1] < 0.1
    for name in ("conv0.weight", "conv11.weight"):  # the orthonormal kernels, scaled
        ratio = found[name] / plain[name]
        np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-5)


def test_lsuv_refuses_images_that_are_all_alike():
    with pytest.raises(DataError, match="do not vary"):
        graph = deep_chain(1)
        from cnnbench.training.lsuv import unit_variances

        unit_variances(graph, 0, {"image": np.zeros((2, 1, 8, 8), np.float32)}, load_backend("numpy"))


def test_a_file_gives_what_has_the_same_name_and_shape():
    ten, seven = build("lenet5", num_classes=10), build("lenet5", num_classes=7)
    given = initialize(ten, 5)
    found, taken = started(seven, 0, WeightStart(given=given))
    last = {name for name in given if given[name].shape != found[name].shape}
    assert last
    assert set(taken) == given.keys() - last
    assert all(np.array_equal(found[name], given[name]) for name in taken)
    own = initialize(seven, 0)
    assert all(np.array_equal(found[name], own[name]) for name in last)
    with pytest.raises(DataError, match="no array"):
        same_names(own, {"other.weight": np.zeros(3)})


@pytest.mark.parametrize("norm", ["", "_bn"])
def test_a_deep_vgg_starts_from_the_trained_shallow_one_as_the_paper_has_it(norm):
    """The first four convolutions and the last three layers: conv1_1, 2_1, 3_1, 3_2, and the fully connected ones."""
    deep, shallow = (build(f"vgg{depth}{norm}", image=(3, 32, 32), num_classes=10) for depth in (16, 11))
    numbers = enumerate(_shapes(shallow).items())
    given = {name: np.broadcast_to(np.float32(number), shape) for number, (name, shape) in numbers}
    found = from_shallow(deep, shallow, given, first=4, last=3)
    ours, theirs = list(_kernels(deep)), list(_kernels(shallow))
    taken = {ours.index(name): found[name].flat[0] for name in ours if name in found}
    from_layers = [given[theirs[layer]].flat[0] for layer in (0, 1, 2, 3, 8, 9, 10)]
    assert taken == dict(zip((0, 2, 4, 5, 13, 14, 15), from_layers, strict=True))
    assert all(found[name].shape == _shapes(deep)[name] for name in found)
    assert bool(norm) == any("running_mean" in name for name in found)


def _shapes(graph):
    return {spec.name: spec.shape for spec in (*graph.named_weights(), *graph.named_state())}


def _kernels(graph):
    return {name: shape for name, shape in _shapes(graph).items() if len(shape) > 1}


def test_a_layer_without_a_counterpart_is_named():
    deep, shallow = deep_chain(2), deep_chain(3)
    given = initialize(shallow, 0)
    with pytest.raises(DataError, match=r"conv2\.weight"):
        from_shallow(deep, shallow, given, first=3, last=0)
    with pytest.raises(DataError, match="so many"):
        from_shallow(deep, shallow, given, first=4, last=3)
    arrays, names = started(
        shallow, 0, WeightStart("xavier_normal", given=initialize(deep, 1), shallow=Shallow(deep, 2, 1))
    )
    assert set(names) == {f"{layer}.{kind}" for layer in ("conv0", "conv1", "head") for kind in ("weight", "bias")}
    assert np.array_equal(arrays["head.weight"], initialize(deep, 1)["head.weight"])


def test_the_command_writes_what_was_asked(tmp_path, capsys):
    given, target = tmp_path / "given.safetensors", tmp_path / "w.safetensors"
    save(initialize(build("lenet5", num_classes=7), 5), given)
    options = ["--init", "orthogonal", "--from", str(given), "-o", str(target), "--json"]
    assert execute(["weights", "init", "lenet5", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    expected, taken = started(build("lenet5"), 0, WeightStart("orthogonal", given=load(given)))
    assert digest(load(target)) == digest(expected) == told["digest"]
    assert told["taken"] == list(taken)
    assert execute(["weights", "init", "lenet5", "--init", "xavier", "-o", str(target)]) == 2
    assert execute(["weights", "init", "lenet5", "--of", "lenet5", "-o", str(target)]) == 2
    assert "--from" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
def test_a_suite_trains_from_the_rule_that_it_names(tmp_path):
    def trained(**changes):
        train = {"architectures": ["simple_cnn"], "epochs": 1, "batch": 64, "train_images": 64, "envelope_runs": 1}
        measure = {"latency": None, "memory": False, "yardsticks": False}
        return plan(small_suite("starts", train=train | changes, measure=measure, checks=("end_to_end",)))

    (cell,) = trained().cells
    (other,) = trained(initializer="lsuv").cells
    assert cell.key != other.key
    assert cell.key == trained(initializer=None).cells[0].key
    (record,) = run(trained(initializer="lsuv"), RunOptions(root=tmp_path)).records
    graph = build("simple_cnn", image=(1, 8, 8), num_classes=10)
    assert record.digests is not None
    assert record.digests.start == digest(started(graph, 0, WeightStart("lsuv", "digits"))[0])
    with pytest.raises(SuiteError, match="orthogonal"):
        trained(initializer="orthogonl")
