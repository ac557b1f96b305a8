"""Masks of a training pass: how often they keep, for whom there is one, and what has masks of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Dropout, StochasticDepth
from cnnbench.spec.masks import masks_of

IMAGES = 4000


def masks(layer, *, seed=0, step=0, batch=IMAGES, image=(2, 2, 2)):
    builder = Builder("masked")
    x = builder.input("x", image)
    first = builder.add("first", layer, x)
    return masks_of(builder.build(builder.add("second", layer, first)), batch, seed, step)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", [Dropout, StochasticDepth])
def test_a_mask_keeps_as_often_as_it_says(kind, p):
    found = masks(kind(p=p))["first.mask"]
    assert set(np.unique(found)) == {0.0, 1.0}
    assert found.mean() == pytest.approx(1 - p, abs=5 * math.sqrt(p * (1 - p) / found.size))


def test_a_branch_is_dropped_whole_for_each_image_or_for_all():
    assert masks(StochasticDepth(p=0.5))["first.mask"].shape == (IMAGES, 1, 1, 1)
    assert masks(StochasticDepth(p=0.5, mode="batch"))["first.mask"].shape == (1, 1, 1, 1)
    kept = [masks(StochasticDepth(p=0.3, mode="batch"), step=step)["first.mask"].item() for step in range(600)]
    assert np.mean(kept) == pytest.approx(0.7, abs=5 * math.sqrt(0.21 / 600))
    assert masks(Dropout(p=0.5), batch=3)["first.mask"].shape == (3, 2, 2, 2)


@pytest.mark.parametrize("layer", [Dropout(p=0.5), StochasticDepth(p=0.5)], ids=["dropout", "stochastic_depth"])
def test_nodes_steps_seeds_and_images_have_masks_of_their_own_that_come_again(layer):
    found = masks(layer)
    mine = found["first.mask"]
    others = [
        found["second.mask"],
        masks(layer, step=1)["first.mask"],
        masks(layer, seed=1)["first.mask"],
        np.roll(mine, 1, axis=0),
    ]
    for other in others:  # independent ones agree in half of the elements
        assert (mine == other).mean() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(mine.size))
    assert np.array_equal(masks(layer)["first.mask"], mine)


def test_nothing_is_drawn_where_nothing_is_dropped():
    assert masks(StochasticDepth(p=0.0)) == masks(Dropout(p=0.0)) == {}
