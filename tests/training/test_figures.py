"""The datasets of stick figures: keypoints lie where limbs meet, and hidden ones are hidden."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.datasets import figures
from cnnbench.training.datasets.drawing import stroke, tight_box

NAMES = ["figures", "figures_several"]


@pytest.fixture(scope="module", params=NAMES)
def found(request: pytest.FixtureRequest) -> Dataset:
    return load_dataset(request.param, DataRequest("test", (3, 64, 72), limit=60, seed=1))


def test_a_keypoint_is_visible_where_its_pixel_belongs_to_its_figure(found: Dataset) -> None:
    seen = set()
    for masks, persons in zip(found.truth["masks"], found.truth["keypoints"], strict=True):
        assert masks.sum(axis=0).max() <= 1
        for mask, points in zip(masks, persons, strict=True):
            for x, y, visibility in points:
                seen.add(int(visibility))
                if visibility == 0:
                    assert x == y == 0
                else:
                    assert bool(mask[int(y), int(x)]) == (visibility == 2)
    assert seen == {0, 1, 2}


def test_limbs_between_visible_keypoints_are_painted_in_the_colour_of_their_side(found: Dataset) -> None:
    pictures, checked = found.images * 0.25 + 0.5, {"left": 0, "right": 0}
    for picture, masks, persons in zip(pictures, found.truth["masks"], found.truth["keypoints"], strict=True):
        if masks[1:].any():
            continue  # another figure may lie over it
        for start, end in found.limbs:
            side = found.names["keypoints"][end].split("_")[0]
            points = persons[0][[start, end]]
            line = stroke(picture.shape[1:], ((points[0, 0], points[0, 1]), (points[1, 0], points[1, 1])), 1.0)
            if side not in checked or (points[:, 2] < 2).any() or end not in (3, 4, 6, 7) or not masks[0][line].all():
                continue
            red, _, blue = np.median(picture[:, line], axis=1)
            assert (red > blue) == (side == "left")
            checked[side] += 1
    assert min(checked.values()) > 10


def test_boxes_are_tight_and_rows_agree(found: Dataset) -> None:
    truth = found.truth
    for masks, boxes, classes, points in zip(
        truth["masks"], truth["boxes"], truth["box_classes"], truth["keypoints"], strict=True
    ):
        for mask, box, kind, person in zip(masks, boxes, classes, points, strict=True):
            assert np.array_equal(box, tight_box(mask))
            assert (kind == 0) == bool(mask.any())
            assert kind == 0 or not person.any()
    rows = truth["box_classes"].shape[1]
    assert rows == {"figures": 1, "figures_several": 3}[found.name]


def test_limbs_make_a_tree_of_all_keypoints() -> None:
    reached = {1}
    for start, end in figures.LIMBS:
        assert start in reached
        assert end not in reached
        reached.add(end)
    assert reached == set(range(len(figures.KEYPOINTS)))


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_the_same_whatever_else_is_loaded(name: str) -> None:
    whole = load_dataset(name, DataRequest("train", (1, 48, 48), limit=20, seed=3))
    few = load_dataset(name, DataRequest("train", (1, 48, 48), limit=4, seed=3))
    assert np.array_equal(few.images, whole.images[:4])
    assert all(np.array_equal(few.truth[key], values[:4]) for key, values in whole.truth.items())
    other = load_dataset(name, DataRequest("test", (1, 48, 48), limit=20, seed=3))
    assert not {image.tobytes() for image in whole.images} & {image.tobytes() for image in other.images}
    with pytest.raises(DataError, match=name):
        load_dataset(name, DataRequest("train", (3, 32, 64)))
