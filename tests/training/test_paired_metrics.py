"""Two runs on the same images: p values against counting by hand, and how often chance alone gets a small one."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.training.metrics.anomaly import AUROCStatistic
from cnnbench.training.metrics.captions import bleu
from cnnbench.training.metrics.detection import FoundObjects, mean_average_precision
from cnnbench.training.metrics.generative import frechet_distance
from cnnbench.training.metrics.kept import kept, restored
from cnnbench.training.metrics.keypoints import PCKStatistic
from cnnbench.training.metrics.paired import PERMUTATION_TEST, SIGN_TEST, compared, joined
from cnnbench.training.metrics.segmentation import SegmentationStatistic
from cnnbench.training.metrics.statistic import MeanStatistic

GENERATOR = np.random.default_rng(0)


def share(*right: int) -> MeanStatistic:
    return MeanStatistic(np.array(right, np.float64))


def pixels(quality: float, generator: np.random.Generator, images: int = 12) -> SegmentationStatistic:
    sizes = np.arange(100, 100 + images)
    hits = generator.binomial(sizes, quality), generator.binomial(400 - sizes, quality)
    rows = [np.stack([hits[0], sizes - hits[0]], -1), np.stack([400 - sizes - hits[1], hits[1]], -1)]
    return SegmentationStatistic(np.stack(rows, 1))


def detections(quality: float, generator: np.random.Generator, images: int = 12):
    classes = np.array([0, 1, 1])
    sizes, nobody = np.full(3, 100.0), np.zeros(3, bool)
    found = [
        FoundObjects(
            generator.choice([0.5, 0.7, 0.9], 3), classes, sizes, classes, sizes, nobody,
            np.diag(quality * generator.uniform(0.8, 1, 3)),
        )
        for _ in range(images)
    ]  # fmt: skip
    return mean_average_precision(found, 2)


def test_a_share_has_the_sign_test_of_the_images_that_one_alone_got_right():
    found = compared(share(1, 1, 1, 1, 1, 0, 1), share(1, 0, 0, 0, 0, 0, 1))
    assert found.test == SIGN_TEST
    assert found.value == pytest.approx(4 / 7)
    assert (found.p_above, found.p_value) == (pytest.approx(1 / 16), pytest.approx(1 / 8))
    assert found.differing == 4
    turned = compared(share(1, 0, 0, 0, 0, 0, 1), share(1, 1, 1, 1, 1, 0, 1))
    assert (turned.p_above, turned.p_value) == (1, found.p_value)
    deviations = np.array([0, 1, 1, 1, 1, 0, 0]) - 4 / 7
    assert found.error == pytest.approx(math.sqrt(((deviations**2).sum() + 1) / (7 * 6)))


@pytest.mark.parametrize("make", [pixels, detections], ids=["mean-iou", "average-precision"])
def test_exchanges_are_those_of_images_of_both_runs(make):
    """All 2^6 exchanges, each figure taken of a statistic that was put together image by image."""
    first, second = make(0.95, GENERATOR, 6), make(0.8, GENERATOR, 6)
    both = joined(first, second)
    whole = np.arange(6)
    assert both.of(2 * whole) == first.of(whole)
    assert both.of(2 * whole + 1) == second.of(whole)
    value = first.of(whole) - second.of(whole)
    differences = []
    for turn in product((0, 1), repeat=6):
        mine = 2 * whole + turn
        differences.append(both.of(mine) - both.of(4 * whole + 1 - mine))
    exact = np.mean(np.array(differences) >= value - 1e-12)
    found = compared(first, second, exchanges=999)
    assert found.test == PERMUTATION_TEST
    assert found.p_above == pytest.approx(exact, abs=0.03)


KINDS = {
    "mean": lambda generator: MeanStatistic(generator.normal(size=30)),
    "auroc": lambda generator: AUROCStatistic(generator.normal(size=30), np.arange(30) < 15),
    "bleu": lambda generator: bleu(generator.integers(0, 2, (30, 5)).tolist(), [[[0, 1, 0, 1, 1]]] * 30),
    "average_precision": lambda generator: detections(0.9, generator, 30),
    "frechet": lambda generator: frechet_distance(generator.normal(size=(30, 3)), np.eye(6)[:, :3]),
    "pck": lambda generator: PCKStatistic(generator.integers(5, 10, 30), np.full(30, 10)),
    "segmentation": lambda generator: pixels(0.9, generator, 30),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_records_keep_is_compared(kind):
    first, second = KINDS[kind](np.random.default_rng(1)), KINDS[kind](np.random.default_rng(2))
    again = [restored(json.loads(json.dumps(kept(item)))) for item in (first, second)]
    found = compared(first, second, exchanges=99)
    assert found == compared(*again, exchanges=99)
    whole = np.arange(30)
    assert found.value == first.of(whole) - second.of(whole) != 0
    assert found.error > 0
    same = compared(first, first, exchanges=99)
    assert (same.value, same.error, same.p_value, same.differing) == (0, 0, 1, 0)
    assert same.interval() == (0, 0)


def test_runs_that_differ_are_told_apart():
    generator = np.random.default_rng(0)
    first = MeanStatistic(generator.normal(size=80))
    better = MeanStatistic(first.figures + generator.normal(0.1, 0.1, 80))  # each image a little better
    found = compared(better, first)
    assert found.interval()[0] > 0
    assert found.p_above == found.p_value == 0.001
    assert found.interval(0.99)[0] < found.interval()[0]


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="other images"):
        compared(share(1, 0), share(1, 0, 1))
    with pytest.raises(DataError, match="the truth of the images differs"):
        compared(PCKStatistic(np.ones(2), np.array([3, 4])), PCKStatistic(np.ones(2), np.array([4, 3])))
    with pytest.raises(DataError, match="cannot be joined"):
        compared(share(1, 0), PCKStatistic(np.ones(2), np.ones(2)))
    undefined = compared(MeanStatistic(np.array([np.nan, 0.5])), MeanStatistic(np.full(2, np.nan)))
    assert math.isnan(undefined.p_value)


def alarms(images: int, trials: int, exchanges: int) -> tuple[float, float, float]:
    """How often chance alone gets a one-sided p of 0.01 or less: a share of 0.97, points of 0.99, pixels of 0.95."""
    generator = np.random.default_rng(images)
    counts = np.zeros(3)
    for trial in range(trials):
        hard = generator.random((2, images))
        alike = generator.random(images) < 0.5  # half of the images are as hard for both
        hard[1] = np.where(alike, hard[0], hard[1])
        right = [MeanStatistic((row < 0.97).astype(np.float64)) for row in hard]
        near = [PCKStatistic(generator.binomial(14, 1 - 0.02 * row), np.full(images, 14)) for row in hard]
        areas = [pixels(0.95, generator, images) for _ in hard]
        pairs = (right, near, areas)
        counts += [compared(*pair, trial, exchanges).p_above <= 0.01 for pair in pairs]
    return tuple(counts / trials)


def test_of_twenty_images_chance_alone_gets_a_small_p_value_no_more_often_than_stated():
    """More than 7 of 200 have a chance below 0.001 where the true share is 0.01."""
    assert max(alarms(20, 200, 99)) <= 7 / 200


@pytest.mark.slow
@pytest.mark.parametrize("images", [20, 50, 200])
def test_the_test_holds_its_level(images):
    """Of 2,000 trials at most 31 (chance below 0.01 where the true share is 0.01)."""
    assert max(alarms(images, 2000, 199)) <= 31 / 2000
