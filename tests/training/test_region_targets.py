"""Anchors and proposals assigned to objects by hand-made cases, and samples that streams decide."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.boxes import BoxEncode, BoxIoU
from cnnbench.training.region_targets import (
    AnchorRule,
    Objects,
    ProposalRule,
    anchor_targets,
    encoded,
    overlaps,
    proposal_targets,
)

# The object, half of it, a tenth of it beside it, nothing of it.
ANCHORS = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [9, 0, 19, 10], [40, 40, 50, 50]], float)
BOXES, COUNTS = np.array([[[0, 0, 10, 10], [0, 0, 0, 0]]], float), np.array([1])


def test_overlaps_and_deltas_are_those_of_the_layers():
    rng = np.random.default_rng(0)
    first, second = (np.sort(rng.uniform(0, 9, (5, 2, 2)), axis=1).reshape(5, 4) for _ in range(2))
    layers = [(BoxIoU(), overlaps(first, second)), (BoxEncode(scales=(10.0, 10.0, 5.0, 5.0)), None)]
    found = reference().forward(LayerCall(layers[0][0].resolve(((5, 4), (5, 4))), (first, second))).outputs[0]
    np.testing.assert_allclose(layers[0][1], found.reshape(5, 5), rtol=1e-12)
    deltas = reference().forward(LayerCall(layers[1][0].resolve(((5, 4), (5, 4))), (first, second))).outputs[0]
    np.testing.assert_allclose(encoded(first, second, (10.0, 10.0, 5.0, 5.0)), deltas, rtol=1e-12)


def test_an_anchor_is_an_object_background_or_neither():
    found = anchor_targets(ANCHORS, BOXES, COUNTS, AnchorRule(), 0)
    assert found["anchor_labels"].tolist() == [[1, 0, 0, 0]]
    assert found["anchor_sampled"].tolist() == [[1, 0, 1, 1]]  # half of it is neither
    assert not found["anchor_targets"].any()  # it is the object itself


def test_the_best_anchors_of_an_object_are_objects_however_little_they_overlap():
    found = anchor_targets(ANCHORS[1:], BOXES, COUNTS, AnchorRule(), 0)
    assert found["anchor_labels"].tolist() == [[1, 0, 0]]
    np.testing.assert_allclose(found["anchor_targets"][0, 0], [0, 0.5, 0, np.log(2)])
    apart = anchor_targets(ANCHORS[3:], BOXES, COUNTS, AnchorRule(), 0)
    assert not apart["anchor_labels"].any()  # no anchor overlaps it at all


def test_an_image_without_objects_is_background():
    found = anchor_targets(ANCHORS, BOXES, np.array([0]), AnchorRule(sampled=2), 0)
    assert not found["anchor_labels"].any()
    assert found["anchor_sampled"].sum() == 2


def test_samples_hold_at_most_their_share_of_objects_and_follow_the_stream():
    many = np.repeat(ANCHORS, 20, axis=0)
    rule = AnchorRule(sampled=16, share=0.25)
    first, again, later = (anchor_targets(many, BOXES, COUNTS, rule, 7, step) for step in (1, 1, 2))
    sampled, labels = first["anchor_sampled"][0], first["anchor_labels"][0]
    assert (sampled.sum(), (sampled * labels).sum()) == (16, 4)
    assert (again["anchor_sampled"] == first["anchor_sampled"]).all()
    assert (later["anchor_sampled"] != first["anchor_sampled"]).any()


def test_proposals_take_the_class_of_the_object_that_they_overlap_most():
    boxes = np.array([[[0, 0, 10, 10], [30, 30, 40, 40]]], float)
    proposals = np.array([[[0, 0, 10, 8], [31, 30, 41, 40], [80, 80, 90, 90], [0, 0, 0, 0]]], float)
    objects = Objects(boxes, np.array([[2, 5]]), np.array([2]))
    rule = ProposalRule(sampled=8, share=0.5)
    found = proposal_targets(proposals, np.array([3]), objects, rule, 0)
    assert found["region_labels"].tolist() == [[2, 5, 2, 5, 0, -1, -1, -1]]  # the objects themselves are proposals
    assert found["region_objects"].tolist() == [[0, 1, 0, 1, -1, -1, -1, -1]]
    assert found["region_positive"].tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]
    assert found["region_sampled"].tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]
    np.testing.assert_allclose(found["region_targets"][0, 0], [0, 10 / 8, 0, 5 * np.log(10 / 8)])
    np.testing.assert_allclose(found["regions"][0, 4], [80, 80, 90, 90])
    assert not found["region_targets"][0, 2:].any()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: AnchorRule(positive=0.2), id="bounds"),
        pytest.param(lambda: AnchorRule(sampled=0), id="sampled"),
        pytest.param(lambda: ProposalRule(share=2.0), id="share"),
        pytest.param(lambda: ProposalRule(positive=0.0), id="positive"),
    ],
)
def test_rules_that_cannot_be_are_refused(make):
    with pytest.raises(SpecError, match="not valid"):
        make()
