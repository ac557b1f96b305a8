"""Decoders on outputs made by hand, whose results are known."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.training.decoders.boxes import Detections, YoloGrid, detections_of, overlaps, suppressed
from cnnbench.training.decoders.captions import beam, greedy
from cnnbench.training.decoders.generation import Diffusion, latents
from cnnbench.training.decoders.keypoints import keypoints_of
from cnnbench.training.decoders.masks import pasted
from cnnbench.training.decoders.persons import COCO_LIMBS, Limb, PersonDecoder
from cnnbench.training.decoders.segmentation import classes_of_pixels


def test_pixels_get_the_class_of_their_largest_logit():
    logits = np.array([[[[1.0, 0.0]], [[2.0, 0.0]], [[0.0, -1.0]]]])
    assert classes_of_pixels(logits).tolist() == [[[1, 0]]]


def test_overlaps_are_shares_of_areas_without_an_additional_pixel():
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 5]], float)
    assert np.allclose(overlaps(boxes, boxes), [[1, 1 / 7, 0], [1 / 7, 1, 0], [0, 0, 0]])


def test_suppression_is_greedy_within_a_class():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6], [0, 0, 10, 10]], float)
    scores, classes = np.array([0.7, 0.9, 0.8, 0.1]), np.array([0, 0, 0, 1])
    found = suppressed(Detections(boxes, scores, classes), 0.7)  # 8:10 and 6:8 meet, 6:10 do not
    assert found.scores.tolist() == [0.9, 0.1]
    assert suppressed(Detections(boxes, scores, classes), 0.78).scores.tolist() == [0.9, 0.8, 0.1]
    assert suppressed(Detections(boxes, scores, classes), 0.8).scores.tolist() == [0.9, 0.8, 0.7, 0.1]


def test_a_cell_of_yolo_gives_its_box_in_pixels():
    """The centre (0.5, 0.25) of cell (row 2, column 1) of 4 x 4 in an image of 80 x 40."""
    cells = np.zeros((1, 4, 4, 13))
    cells[0, 2, 1] = [0.5, 0.25, 0.5, 0.5, 0.9, 0, 0, 0, 0, 0.0, 0.1, 0.8, 0.1]
    (found,) = YoloGrid(height=40, width=80).decode(cells)
    assert np.allclose(found.boxes, [[30 - 10, 22.5 - 5, 30 + 10, 22.5 + 5]])
    assert np.allclose(found.scores, [0.72])
    assert found.classes.tolist() == [1]
    (unsquared,) = YoloGrid(height=40, width=80, squared=False).decode(cells)
    assert np.allclose(unsquared.boxes, [[10, 12.5, 50, 32.5]])
    cells[0, 2, 1, 5:10] = [0.5, 0.25, 0.5, 0.5, 0.8]  # the same place again, and less sure
    assert len(YoloGrid(height=40, width=80).decode(cells)[0]) == 1


def test_what_lies_behind_the_count_is_no_detection():
    outputs = {
        "boxes": np.arange(24.0).reshape(2, 3, 4),
        "scores": np.array([[0.9, 0.3, 0.0], [0.8, 0.7, 0.6]]),
        "classes": np.array([[2, 1, 0], [0, 1, 2]]),
        "counts": np.array([2, 0]),
    }
    first, second = detections_of(outputs)
    assert (first.classes.tolist(), len(second)) == ([2, 1], 0)
    assert detections_of(outputs, score_threshold=0.5)[0].boxes.tolist() == [[0, 1, 2, 3]]


def test_a_mask_covers_the_pixels_whose_centres_it_covers():
    whole = np.ones((1, 28, 28))
    found = pasted(whole, np.array([[2, 1, 6, 4]], float), (6, 8))[0]
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:6] = True
    assert np.array_equal(found, expected)
    left = whole.copy()
    left[:, :, 14:] = 0
    expected[:, 4:] = False
    assert np.array_equal(pasted(left, np.array([[2, 1, 6, 4]], float), (6, 8))[0], expected)
    assert pasted(whole, np.array([[-5, -5, 50, 50]], float), (6, 8)).all()
    assert not pasted(whole, np.array([[3, 3, 3, 5]], float), (6, 8)).any()


def test_a_keypoint_moves_a_quarter_towards_its_larger_neighbour():
    maps = np.zeros((1, 3, 8, 8))
    maps[0, 0, 3, 4], maps[0, 0, 3, 5], maps[0, 0, 2, 4] = 1.0, 0.5, 0.25
    maps[0, 1, 0, 7] = 2.0  # at the border it stays
    maps[0, 2] = -1.0
    found = keypoints_of(maps)[0]
    assert found.tolist() == [[17.0, 11.0, 1.0], [28.0, 0.0, 2.0], [0.0, 0.0, -1.0]]


LIMBS = (Limb(0, 1, 0), Limb(1, 2, 1))


def two_persons() -> tuple[np.ndarray, np.ndarray]:
    """Two persons of three keypoints in a row each, at rows 4 and 10; their limbs are horizontal."""
    maps, fields = np.zeros((1, 4, 16, 24)), np.zeros((1, 4, 16, 24))
    for row in (4, 10):
        for kind, column in enumerate((3, 10, 17)):
            maps[0, kind, row, column] = 0.9
        fields[0, 0, row, 3:11] = 1.0
        fields[0, 2, row, 10:18] = 1.0
    return maps, fields


def test_limbs_join_the_keypoints_of_each_person():
    (found,) = PersonDecoder(LIMBS, least_keypoints=3, stride=2.0).decode(*two_persons())
    assert found[:, :, :2].tolist() == [[[6, 8], [20, 8], [34, 8]], [[6, 20], [20, 20], [34, 20]]]
    assert np.allclose(found[:, :, 2], 0.9)


def test_fields_that_point_the_other_way_or_not_along_the_limb_join_nothing():
    maps, fields = two_persons()
    assert len(PersonDecoder(LIMBS, least_keypoints=2).decode(maps, -fields)[0]) == 0
    fields[:, 2:] = 0.0
    (found,) = PersonDecoder(LIMBS, least_keypoints=2).decode(maps, fields)
    assert (found[:, 2] == 0).all()
    assert len(found) == 2
    assert len(PersonDecoder(LIMBS, least_keypoints=3).decode(maps, fields)[0]) == 0


def test_two_halves_of_a_person_are_joined_by_a_later_limb():
    limbs = (Limb(0, 1, 0), Limb(2, 3, 1), Limb(1, 2, 2))
    maps, fields = np.zeros((1, 5, 8, 24)), np.zeros((1, 6, 8, 24))
    for kind, column in enumerate((2, 8, 14, 20)):
        maps[0, kind, 4, column] = 0.8
    fields[0, 0::2, 4] = 1.0
    (found,) = PersonDecoder(limbs).decode(maps, fields)
    assert found.shape == (1, 4, 3)
    assert (found[0, :, 2] > 0).all()


def test_the_limbs_of_coco_use_every_field_once():
    assert sorted(limb.field for limb in COCO_LIMBS) == list(range(19))
    assert {kind for limb in COCO_LIMBS for kind in limb[:2]} == set(range(18))


PROBABILITIES = {  # of words 0 (the end), 1, 2, 3 after each word
    3: [0.0, 0.55, 0.45, 0.0],
    1: [0.2, 0.4, 0.4, 0.0],
    2: [0.9, 0.05, 0.05, 0.0],
}


def next_words(state, words):
    with np.errstate(divide="ignore"):
        scores = np.log(np.array([PROBABILITIES[int(word) or 3] for word in words]))
    return scores, {"seen": state["seen"] + words}


def test_a_beam_finds_a_likelier_sentence_than_the_greedy_choice():
    state = {"seen": np.zeros(2)}
    assert greedy(next_words, state, np.array([3, 2]), 3).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert beam(next_words, state, np.array([3, 2]), 3, width=2).tolist() == [[2, 0, 0], [0, 0, 0]]
    assert beam(next_words, state, np.array([3, 2]), 3, width=1).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_a_state_follows_its_sentence_through_the_beam():
    """The second word is the sum of what was said before; parents change places in between."""

    def step(state, words):
        total = state["sum"] + words
        scores = np.full((len(words), 4), -9.0)
        if state["sum"][0] == 0:
            scores[:, 1:3] = [-0.5, -1.0]
        else:
            for row, value in enumerate(total):
                scores[row, int(value) - 3] = -2.0 if int(value) == 4 else -0.1
        return scores, {"sum": total}

    assert beam(step, {"sum": np.zeros(1)}, np.array([3]), 2, width=2).tolist() == [[2, 2]]


@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_ancestral_sampling_of_a_normal_distribution_gives_its_moments(variance):
    """Of pictures that are N(3, 0.5^2) each, the best prediction of the noise is linear in x_t."""
    way = Diffusion(steps=200, first=1e-3, last=0.06, variance=variance)

    def predict(x, times):
        a = way.kept[times.astype(int)].reshape(-1, 1, 1, 1)
        return np.sqrt(1 - a) * (x - np.sqrt(a) * 3.0) / (a * 0.25 + 1 - a)

    found = way.sample(predict, (4, 1, 16, 16), seed=0)
    assert np.allclose([found.mean(), found.std()], [3, 0.5], atol=0.05)
    assert np.array_equal(found, way.sample(predict, (4, 1, 16, 16), seed=0))
    fast = way.sample_fast(predict, (4, 1, 16, 16), seed=0, count=100)
    # without noise, the start's mean of 0 in place of sqrt(a_T) 3 stays: that distance by 0.5 / 1
    assert np.allclose([fast.mean(), fast.std()], [3 - 1.5 * np.sqrt(way.kept[-1]), 0.5], atol=0.05)


def test_a_step_back_with_the_true_noise_of_one_picture_ends_at_the_picture():
    way = Diffusion(steps=50)
    picture = np.random.default_rng(0).normal(size=(2, 1, 4, 4))

    def predict(x, times):
        a = way.kept[int(times[0])]
        return (x - np.sqrt(a) * picture) / np.sqrt(1 - a)

    assert np.allclose(way.sample_fast(predict, picture.shape, 0, 10), picture, atol=1e-5)
    assert np.allclose(way.sample(predict, picture.shape, 0), picture, atol=1e-5)
    noise = np.ones_like(picture)
    assert np.allclose(
        way.noisy(picture, np.array([0, 49]), noise)[1], np.sqrt(way.kept[49]) * picture[1] + np.sqrt(1 - way.kept[49])
    )


def test_draws_of_the_prior_are_those_of_their_number():
    assert np.array_equal(latents(3, (5,), 1), latents(8, (5,), 1)[:3])
    assert not np.array_equal(latents(3, (5,), 1), latents(3, (5,), 2))
