"""Networks written as ONNX: ONNX's own evaluator and our reader both compute what the network computes."""

from __future__ import annotations

import json
from itertools import groupby

import numpy as np
import pytest

import cnnbench
from cnnbench.conformance.cases import layer_cases
from cnnbench.errors import CnnbenchError, DataError, SpecError
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.registry import architectures
from cnnbench.spec.graph import Builder
from cnnbench.spec.interchange.onnx_import import import_file
from cnnbench.spec.interchange.to_onnx import model as to_onnx
from cnnbench.spec.interchange.to_onnx.model import to_model, write_onnx
from cnnbench.spec.layers import BatchNorm, Conv, Dropout, Linear, ReLU
from cnnbench.spec.layers.normalization import FrozenBatchNorm
from cnnbench.spec.layers.regularization import StochasticDepth
from cnnbench.spec.passes import lower
from cnnbench.spec.weights import general_position

onnx = pytest.importorskip("onnx")

NAMES = list(layer_cases())
FIRST = [next(names) for _, names in groupby(NAMES, lambda name: name.partition("/")[0])]
NOT_WRITTEN = {
    "roi_max_pool": "this kind is not written",
    "non_max_suppression": "this kind is not written",
    "proposal_selection": "this kind is not written",
    "pyramid_proposals": "this kind is not written",
    "class_detections": "this kind is not written",
    "level_roi_align": "this kind is not written",
    "pyramid_roi_align/three_levels": "this kind is not written",
    "pyramid_roi_align/one_level": "wants the image of each region",
    "roi_align/shared_out": "wants the image of each region",
    "gather_indices/own_columns": "behind shared axes only",
    "nll_loss/smoothed": "no label smoothing",
    "cross_entropy_loss/smoothed": "no label smoothing",
    "size_and_scale": "a size or a scale, not both",
}
# Where ONNX's reference evaluator is wrong or refuses; ONNX Runtime computes these models as we do.
EVALUATOR = (
    "conv/no_images", "conv_transpose/", "global_max_pool/no_images", "local_response_norm/", "lstm", "reverse", "gru",
    "bidirectional", "rnn/relu", "align_corners_fraction", "grid_sample/cubic_border", "group_norm/large_mean",
    "mean/repeated", "max_pool_positions/negative", "head_class_loss/",
    "token_cross_entropy_loss/",
)  # fmt: skip
# ONNX has no end to the samples of a region that is larger than the features.
UNLIKE = ("roi_align/adaptive",)
# What our reader does not take: inputs without a batch beside others with one, arithmetic of integers.
READER = (
    "gather_indices/positive", "gather_indices/table", "matmul/fewer_axes_first", "expand/to_the_batch", "take_rows/",
    "head_box_loss", "mask_head_loss", "max_pool_positions/",
)  # fmt: skip


def in_float64(arrays):
    return {n: np.asarray(a, np.float64 if np.asarray(a).dtype.kind == "f" else np.int64) for n, a in arrays.items()}


def computed(graph, arrays, batch):
    return reference().subject.forward(lower(graph), arrays, batch, reference_options()).outputs


def agree(expected, found, what):
    for one, other in zip(expected, found, strict=True):
        assert one.shape == np.shape(other), what
        scale = np.abs(one[np.isfinite(one)]).max(initial=1e-30)
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-6 * scale, equal_nan=True, err_msg=what)


def check_case(name, path):
    case = layer_cases()[name].case(reference_options(), 0)
    arrays, batch = in_float64(case.arrays), in_float64(case.batch)
    refused = next((reason for part, reason in NOT_WRITTEN.items() if part in name), None)
    if refused is not None:
        with pytest.raises(SpecError, match=refused):
            to_model(case.graph, arrays, "float64")
        return
    outputs = computed(case.graph, arrays, batch)
    expected = [outputs[output] for output, _ in case.graph.outputs]
    write_onnx(case.graph, arrays, path, "float64")
    if not any(part in name for part in (*EVALUATOR, *UNLIKE)):
        from onnx.reference import ReferenceEvaluator

        agree(expected, ReferenceEvaluator(str(path)).run(None, batch), "ONNX's evaluator")
    if any(part in name for part in READER):
        return
    back = import_file(path)
    if back.graph is not None:
        known = {ours: batch[theirs] for ours, theirs in back.inputs.items()}
        agree(expected, back.results(computed(back.graph, in_float64(back.arrays), known)), "our reader")


@pytest.mark.parametrize("name", FIRST)
def test_the_first_case_of_each_kind_computes_the_same_as_onnx(name, tmp_path):
    check_case(name, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIRST])
def test_every_other_case_computes_the_same_as_onnx(name, tmp_path):
    check_case(name, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(architectures()))
def test_every_network_goes_out_and_comes_back_equal(name, tmp_path):
    found = cnnbench.export(name, tmp_path / "m.onnx")
    assert found.apart < 1e-6


def siamese():
    builder = Builder("siamese")
    left, right = builder.input("left", (3, 6, 6)), builder.input("right", (3, 6, 6))
    x = builder.add("conv", Conv(out_channels=4, kernel_size=3), left)
    y = builder.add("again", Conv(out_channels=4, kernel_size=3), right, weights_of="conv")
    return builder.build({"x": x, "y": y})


def test_a_shared_weight_is_one_initializer_and_comes_back_shared(tmp_path):
    graph = siamese()
    write_onnx(graph, general_position(graph, 0), tmp_path / "m.onnx")
    names = [item.name for item in onnx.load(tmp_path / "m.onnx").graph.initializer]
    assert sorted(names) == ["conv.bias", "conv.weight"]
    back = import_file(tmp_path / "m.onnx").graph
    assert [node.weights_of for node in back.nodes] == [None, "conv"]
    assert [spec.name for spec in back.named_weights()] == ["conv.weight", "conv.bias"]


def test_what_matters_in_training_only_comes_back(tmp_path):
    builder = Builder("training")
    x = builder.add("conv", Conv(out_channels=4, kernel_size=1), builder.input("image", (3, 4, 4)))
    x = builder.add("norm", BatchNorm(momentum=0.03, running_variance="unbiased", eps=1e-3), x)
    x = builder.add("frozen", FrozenBatchNorm(eps=0.0), x)
    x = builder.add("plain", BatchNorm(affine=False), x)
    x = builder.add("depth", StochasticDepth(p=0.3), builder.add("relu", ReLU(), x))
    graph = builder.build(builder.add("dropout", Dropout(p=0.2), x))
    write_onnx(graph, general_position(graph, 0), tmp_path / "m.onnx")
    back = import_file(tmp_path / "m.onnx")
    assert [node.layer for node in back.graph.nodes] == [node.layer for node in graph.nodes]
    assert {spec.name for spec in back.graph.named_state()} == {spec.name for spec in graph.named_state()}


def test_a_network_of_plain_layers_comes_back_as_the_same_graph(tmp_path):
    graph = cnnbench.build("lenet5")
    write_onnx(graph, general_position(graph, 0), tmp_path / "lenet5.onnx")
    back = import_file(tmp_path / "lenet5.onnx").graph
    assert back.digest == lower(graph).digest


@pytest.mark.parametrize("text", ["{", '{"kind": 1}', "[]", '{"kind": "dropout", "fields": {"p": 7}}'])
def test_metadata_that_are_wrong_are_a_plain_error(text, tmp_path):
    builder = Builder("m")
    graph = builder.build(builder.add("dropout", Dropout(p=0.2), builder.input("image", (3,))))
    model = to_model(graph, {})
    model.graph.node[-1].metadata_props[0].value = text
    onnx.save_model(model, tmp_path / "m.onnx")
    with pytest.raises(SpecError):
        import_file(tmp_path / "m.onnx")


def test_large_weights_lie_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(to_onnx, "LARGEST", 1000)
    found = cnnbench.export("lenet5", tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx.data").stat().st_size > 200_000
    assert found.apart < 1e-6


def test_the_file_says_what_it_holds_and_reads_back(tmp_path):
    model = cnnbench.load("resnet20", seed=3)
    found = cnnbench.export(model, tmp_path / "m.onnx")
    assert found.network == "resnet20"
    assert found.nodes["Conv"] == 19
    assert found.apart < 1e-6
    again = cnnbench.load(tmp_path / "m.onnx")
    for name in ("conv1.weight", "layer1.0.bn1.running_var", "fc.bias"):
        np.testing.assert_array_equal(again.arrays[name], model.arrays[name].astype(np.float32))
    batch = np.random.default_rng(0).normal(size=(3, 3, 32, 32))
    ours, theirs = (cnnbench.predict(item, batch).output for item in (model, again))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)


def test_a_file_that_computes_something_else_is_not_passed_off_as_the_network(tmp_path, monkeypatch):
    from cnnbench.spec.interchange.to_onnx.writer import EXPORTERS

    monkeypatch.setitem(EXPORTERS, "relu", lambda node: [node.op("Sigmoid", node.x)])
    with pytest.raises(DataError, match="did not compute the same"):
        cnnbench.export("lenet5", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_onnx_cannot_say_leaves_no_file(tmp_path):
    from cnnbench.spec.layers.detection import NonMaxSuppression

    builder = Builder("boxes")
    boxes, scores = builder.input("boxes", (8, 4)), builder.input("scores", (8,))
    kept = builder.add_all("suppress", NonMaxSuppression(iou_threshold=0.5, max_outputs=3), boxes, scores)
    with pytest.raises(SpecError, match=r"'suppress' \(non_max_suppression\)"):
        cnnbench.export(builder.build(kept), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_missing_weights_and_folders_are_named(tmp_path):
    builder = Builder("m")
    graph = builder.build(builder.add("fc", Linear(out_features=2), builder.input("x", (3,))))
    with pytest.raises(SpecError, match=r"fc\.(weight|bias)"):
        write_onnx(graph, {}, tmp_path / "m.onnx")
    with pytest.raises(CnnbenchError, match="cannot be written"):
        write_onnx(graph, general_position(graph, 0), tmp_path / "none" / "m.onnx")
    with pytest.raises(SpecError, match="other precisions"):
        cnnbench.export("lenet5", tmp_path / "m.onnx", precision="float16")
    assert json.dumps([item.name for item in tmp_path.iterdir()]) == "[]"
