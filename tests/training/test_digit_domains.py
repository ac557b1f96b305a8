"""Domains of digits share no digit and differ in their colours only."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest, Dataset

SPLITS = ("train", "test")


def load(name: str, split: str, channels: int = 3, limit: int | None = None) -> Dataset:
    return load_dataset(name, DataRequest(split, (channels, 8, 8), limit=limit, seed=2))


def test_the_domains_share_no_digit_and_hold_all() -> None:
    whole = {split: load_dataset("digits", DataRequest(split, (1, 8, 8))).images for split in SPLITS}
    for split in SPLITS:
        a, b = load("digits_a", split, 1), load("digits_b", split, 1)
        ink_a = np.round((a.images * 0.5 + 0.5) * 16)
        ink_b = np.round((b.truth["counterparts"] * 0.5 + 0.5) * 16)
        ours = np.concatenate([ink_a, ink_b]).reshape(-1, 64)
        assert len(ours) == len(whole[split])
        levels = np.unique(whole[split])
        assert len(levels) == 17
        theirs = np.searchsorted(levels, whole[split]).reshape(-1, 64)
        assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


@pytest.mark.parametrize("name", ["digits_a", "digits_b"])
def test_a_counterpart_is_the_same_digit_in_the_other_colours(name: str) -> None:
    found = load(name, "test", limit=20)
    assert found.images.dtype == found.truth["counterparts"].dtype == np.float32
    white, blue = (found.images, found.truth["counterparts"])[:: 1 if name == "digits_a" else -1]
    ink = (white[:, :1] + 1) / 2
    paper, colour = np.array([[0.95, 0.9, 0.6], [0.1, 0.1, 0.6]])[:, None, :, None, None]
    np.testing.assert_allclose(blue, 2 * (paper + (colour - paper) * ink) - 1, atol=1e-6)
    assert np.array_equal(white[:, 0], white[:, 2])
    few = load(name, "test", limit=6)
    assert np.array_equal(few.images, found.images[:6])


def test_a_domain_has_pictures_only() -> None:
    with pytest.raises(DataError, match="pictures"):
        load_dataset("digits_a", DataRequest("test", (1, 64)))
