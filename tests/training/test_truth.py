"""What is true of images stays with them: numbers of images, and those that are taken."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.training.dataset import Dataset

IMAGES = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1)
LABELS = np.arange(3)


def test_taken_images_keep_their_truth() -> None:
    boxes = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    whole = Dataset(
        "one", "test", IMAGES, LABELS, ("a", "b", "c"), "none", {"boxes": boxes}, {"captions": ("<end>",)}, ((0, 1),)
    )
    found = whole.take(np.array([2, 0, 2]))
    assert found.images.ravel().tolist() == found.labels.tolist() == [2, 0, 2]
    assert np.array_equal(found.truth["boxes"], boxes[[2, 0, 2]])
    assert (found.names, found.limbs) == (whole.names, whole.limbs)


def test_a_truth_for_another_number_of_images_is_refused() -> None:
    with pytest.raises(DataError, match="boxes and labels"):
        Dataset("one", "test", IMAGES, LABELS, ("a", "b", "c"), "none", {"boxes": np.zeros((2, 1, 4))})
    with pytest.raises(DataError, match="images and labels"):
        Dataset("one", "test", IMAGES[:2], LABELS, ("a", "b", "c"), "none")


@pytest.mark.parametrize(("labels", "image", "received"), [((0, 1, 3), 2, "3"), ((0, -1, 7), 1, "-1")])
def test_a_label_that_is_the_number_of_no_class_is_refused(labels: tuple[int, ...], image: int, received: str) -> None:
    """A backend would fail on it far from its cause, or clamp it silently."""
    with pytest.raises(DataError, match=rf"label of image {image} is the number of no class[\s\S]*{received}"):
        Dataset("one", "test", IMAGES, np.asarray(labels), ("a", "b", "c"), "none")
