"""The dataset of shapes: what it says of its pictures is what they show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.training.data import batch_of, load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.datasets import drawing, shapes


@pytest.fixture(scope="module")
def found() -> Dataset:
    return load_dataset("shapes", DataRequest("test", (3, 48, 64), limit=40, seed=1))


def pixels(data: Dataset) -> Any:
    return data.images * 0.25 + 0.5


def words(row: Any) -> list[str]:
    return [shapes.WORDS[token] for token in row if token]


def test_shapes_have_the_declared_arrays(found: Dataset) -> None:
    sizes = {name: (values.dtype.name, values.shape) for name, values in found.truth.items()}
    assert sizes == {
        "boxes": ("float32", (40, 4, 4)),
        "box_classes": ("int64", (40, 4)),
        "masks": ("uint8", (40, 4, 48, 64)),
        "segmentation": ("int64", (40, 48, 64)),
        "captions": ("int64", (40, 7)),
        "box_captions": ("int64", (40, 4, 3)),
    }
    assert np.array_equal(found.labels, found.truth["box_classes"][:, 0])
    assert set(np.unique(found.truth["box_classes"])) == {-1, 0, 1, 2}


def test_a_box_is_the_tight_one_of_its_visible_mask(found: Dataset) -> None:
    for boxes, masks, classes in zip(*(found.truth[n] for n in ("boxes", "masks", "box_classes")), strict=True):
        assert masks.sum(axis=0).max() == 1  # no pixel belongs to two objects
        for box, mask, kind in zip(boxes, masks, classes, strict=True):
            if kind < 0:
                assert not box.any()
                assert not mask.any()
                continue
            x1, y1, x2, y2 = box.astype(int)
            inside = mask[y1:y2, x1:x2]
            assert inside.sum() == mask.sum() > 0
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_the_segmentation_joins_the_masks(found: Dataset) -> None:
    kinds = found.truth["box_classes"][:, :, None, None] + 1
    assert np.array_equal(found.truth["segmentation"], (found.truth["masks"] * kinds).sum(axis=1))
    assert found.names["segmentation"] == ("background", "disc", "square", "triangle")


def test_pixels_of_a_mask_have_the_colour_that_the_caption_names(found: Dataset) -> None:
    reference = np.asarray(list(shapes.COLOURS.values()))
    for picture, masks, phrases in zip(pixels(found), found.truth["masks"], found.truth["box_captions"], strict=True):
        background = picture[:, masks.sum(axis=0) == 0]
        assert np.ptp(background, axis=0).max() < 0.35  # grey, with noise
        for mask, phrase in zip(masks, phrases, strict=True):
            if not mask.any():
                assert not phrase.any()
                continue
            colour = picture[:, mask > 0].mean(axis=1)
            nearest = np.abs(reference * 0.9 - colour).sum(axis=1).argmin()
            assert words(phrase)[0] == list(shapes.COLOURS)[nearest]


def test_masks_have_the_areas_of_their_kind() -> None:
    size = (200, 200)
    disc = drawing.disc(size, (90.2, 100.7), 60)
    assert disc.sum() == pytest.approx(np.pi * 60**2, rel=0.01)
    corners = np.array([[10.0, 10.0], [150.0, 30.0], [60.0, 170.0]])
    triangle = drawing.convex_polygon(size, corners)
    assert triangle.sum() == pytest.approx((140 * 160 - 20 * 50) / 2, rel=0.01)
    assert np.array_equal(triangle, drawing.convex_polygon(size, corners[::-1]))
    line = drawing.stroke(size, ((20, 20), (120, 20)), 10)
    assert line.sum() == pytest.approx(100 * 10 + np.pi * 25, rel=0.02)


def test_a_caption_says_where_the_first_two_objects_lie(found: Dataset) -> None:
    relations = set()
    for boxes, classes, phrases, row in zip(
        *(found.truth[n] for n in ("boxes", "box_classes", "box_captions", "captions")), strict=True
    ):
        caption = words(row)
        if (classes >= 0).sum() == 1:
            assert caption == words(phrases[0])
            continue
        middle = (boxes[:2, :2] + boxes[:2, 2:]) / 2
        apart = middle[1] - middle[0]
        axis = int(np.abs(apart).argmax())
        assert abs(abs(apart[0]) - abs(apart[1])) >= 0.08 * 48
        first = 0 if apart[axis] > 0 else 1
        relation = ["above"] if axis else ["left", "of"]
        assert caption == [*words(phrases[first]), *relation, *words(phrases[1 - first])]
        relations.add(axis)
    assert relations == {0, 1}


def test_half_of_each_object_shows_and_some_overlap() -> None:
    overlaps = 0
    for seed in range(30):
        objects = shapes.place((64, 64), np.random.default_rng(seed))
        for item, mask in zip(objects, shapes.visible(objects), strict=True):
            assert 2 * mask.sum() >= item.mask.sum() > 0
            overlaps += mask.sum() < item.mask.sum()
    assert overlaps > 5


def test_a_picture_is_the_same_whatever_else_is_loaded() -> None:
    whole = load_dataset("shapes", DataRequest("train", (3, 24, 24), limit=30, seed=3))
    few = load_dataset("shapes", DataRequest("train", (3, 24, 24), limit=5, seed=3))
    assert np.array_equal(few.images, whole.images[:5])
    assert all(np.array_equal(few.truth[name], values[:5]) for name, values in whole.truth.items())
    other = load_dataset("shapes", DataRequest("test", (3, 24, 24), limit=30, seed=3))
    assert not {image.tobytes() for image in whole.images} & {image.tobytes() for image in other.images}
    assert batch_of("shapes", (1, 24, 30), 3, 0)["image"].shape == (3, 1, 24, 30)


def test_shapes_are_refused_where_they_cannot_be_told_apart() -> None:
    for image in ((3, 16, 64), (4, 64, 64), (3, 64)):
        with pytest.raises(DataError, match="shapes"):
            load_dataset("shapes", DataRequest("test", image))
