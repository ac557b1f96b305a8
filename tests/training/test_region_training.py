"""Two-stage detectors are trained as they infer: the same heads on given regions, targets sampled for each batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import FasterRCNN, draw_loss_targets, objective_graph
from cnnbench.spec.optimizers import Adam
from cnnbench.spec.passes.region_training import REGIONS, proposals_graph, region_training_graph
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position, initialize, split_state
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.loop import train
from cnnbench.training.region_training import RegionTargets, anchors_of, mask_targets
from cnnbench.training.settings import TrainSettings
from cnnbench.training.targets import purpose_of, targets_of
from cnnbench.training.task import TrainingTask

LOSS = FasterRCNN(masks="masks", sampled_anchors=16)
EXACT = ProgramOptions("fast", precision("float64"))
IMAGE = (3, 64, 64)


def outputs(graph: Graph, arrays, inputs):
    program = load_backend("numpy").compile_forward(graph, EXACT)
    program.load(*split_state(graph, arrays))
    return program.download(program.run(program.upload(inputs))).outputs


def shapes(count: int = 6, split: str = "train"):
    return load_dataset("shapes", DataRequest(split, IMAGE, count, 0))


@pytest.fixture(scope="module")
def mask_rcnn() -> Graph:
    return build("mask_rcnn_tiny", image=IMAGE, num_classes=3)


def test_heads_say_of_given_regions_what_the_network_says_of_its_own(mask_rcnn):
    """Class scores and deltas of its proposals, masks of its detections, in one pass each."""
    arrays = general_position(mask_rcnn, 0)
    images = np.random.default_rng(0).normal(size=(2, *IMAGE))
    trained = region_training_graph(mask_rcnn)
    assert {spec.name for spec in trained.named_weights()} == {spec.name for spec in mask_rcnn.named_weights()}
    whole = outputs(mask_rcnn, arrays, {"image": images})
    own = outputs(proposals_graph(mask_rcnn), arrays, {"image": images})[REGIONS]
    found = outputs(trained, arrays, {"image": images, REGIONS: own})
    for name in ("logits", "deltas"):
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-9, atol=1e-12)
    assert whole["counts"].min() > 0
    detected = np.zeros_like(own)
    detected[:, : whole["boxes"].shape[1]] = whole["boxes"]
    masks = outputs(trained, arrays, {"image": images, REGIONS: detected})["masks"]
    for image, count in enumerate(whole["counts"]):
        for row in range(count):
            logits = masks[image, row, 1 + whole["classes"][image, row]]
            np.testing.assert_allclose(1 / (1 + np.exp(-logits)), whole["masks"][image, row], rtol=1e-9)


def test_what_proposals_are_made_of_comes_out_anchor_by_anchor(mask_rcnn):
    trained = region_training_graph(mask_rcnn)
    anchors, sizes = anchors_of(mask_rcnn), trained.shapes()
    values = dict(trained.outputs)
    assert sizes[values["objectness"]] == (1, len(anchors))
    assert sizes[values["anchor_deltas"]] == (1, len(anchors), 4)
    np.testing.assert_allclose(anchors[:3].mean(0), (0, 0, 0, 0), atol=12)  # around the first place of the first level
    with pytest.raises(SpecError, match="does not propose regions"):
        region_training_graph(build("unet_tiny"))


def test_a_loss_that_needs_regions_brings_them_as_an_input(mask_rcnn):
    graph = objective_graph(mask_rcnn, LOSS)
    drawn = draw_loss_targets(mask_rcnn, LOSS, stream(0, "targets"), 2)
    assert {item.name for item in graph.inputs} == {"image", *drawn}
    boxes = drawn[REGIONS]
    assert (boxes[..., 2:] - boxes[..., :2] >= 8).all()
    assert boxes.min() >= 0
    assert boxes.max() <= 64


def test_without_masks_the_term_is_left_out_and_without_a_truth_it_is_refused():
    graph = build("faster_rcnn_tiny", image=IMAGE, num_classes=3)
    assert [name for name, _ in objective_graph(graph, LOSS).outputs] == [
        "loss", "objectness", "anchor_deltas", "box_class", "box_deltas",
    ]  # fmt: skip
    assert purpose_of(graph) == "regions"
    with pytest.raises(SpecError, match="sampled for each batch"):
        targets_of(graph, LOSS, shapes())
    with pytest.raises(SpecError, match="does not say what"):
        RegionTargets(graph, LOSS, load_dataset("random", DataRequest("train", IMAGE, 4, 0)), 0)
    with pytest.raises(SpecError, match="does not fit the data"):
        RegionTargets(build("faster_rcnn_tiny", image=IMAGE, num_classes=5), LOSS, shapes(), 0)


def test_regions_are_anchors_first_then_what_is_proposed_and_objects_always(mask_rcnn):
    data = shapes()
    targets = RegionTargets(mask_rcnn, LOSS, data, 0)
    positions = np.array([4, 1, 3])
    first = targets.of(positions, 0)
    assert first["anchor_sampled"].sum(1).max() <= 16
    assert not np.array_equal(first["anchor_sampled"], targets.of(positions, 1)["anchor_sampled"])
    for image, place in enumerate(positions):
        count = int((data.truth["box_classes"][place] >= 0).sum())
        labels = set(first["region_labels"][image][first["region_positive"][image] > 0])
        assert labels <= set(data.truth["box_classes"][place][:count] + 1)
    targets.propose(np.tile(np.array([1.0, 2, 9, 11]), (len(data), 5, 1)))
    later = targets.of(positions, 0)
    for image, place in enumerate(positions):
        rows = {tuple(row) for row in later[REGIONS][image][later["region_sampled"][image] > 0]}
        true = {tuple(row) for row in data.truth["boxes"][place] if row.any()}
        assert rows <= true | {(1.0, 2.0, 9.0, 11.0)}
        assert rows & true


def test_masks_of_regions_are_the_object_seen_through_them():
    mask = np.zeros((1, 1, 8, 8))
    mask[0, 0, 2:6, 4:8] = 1
    regions = np.array([[[4, 2, 8, 6], [0, 0, 8, 8], [0, 0, 4, 4], [4, 2, 8, 6]]], float)
    found = mask_targets(mask, regions, np.array([[0, 0, 0, -1]]), (4, 4))[0]
    np.testing.assert_array_equal(found[0], 1)
    half = np.zeros((4, 4))
    half[1:3, 2:] = 1
    np.testing.assert_array_equal(found[1], half)
    assert not found[2:].any()


def test_a_two_stage_detector_trains_and_goes_on_with_its_own_proposals(monkeypatch):
    proposed = []
    monkeypatch.setattr(RegionTargets, "propose", lambda self, found: proposed.append(found.shape))
    graph = build("faster_rcnn_tiny", image=IMAGE, num_classes=3)
    settings = TrainSettings(
        data="shapes", epochs=2, batch=4, loss=replace(LOSS, masks=""), optimizer=Adam(), learning_rate=0.003,
        train_images=16, test_images=4,
    )  # fmt: skip
    task = TrainingTask(
        load_backend("numpy"), graph, initialize(graph, 0), settings, ProgramOptions("fast", precision("float32"))
    )
    result = train(task)
    assert proposed == [(16, 24, 4)]
    assert result.epochs[1].train_loss < result.epochs[0].train_loss
    assert np.isfinite(result.epochs[1].test_loss)
    assert [score.metric for score in result.epochs[1].metrics] == ["ap", "ap50"]
