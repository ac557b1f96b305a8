"""Variances steadied over the cells of a run: what they cost in truth, and what they save."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.measurement.moderation import Variance, common_variance, joint_degrees, moderated
from cnnbench.measurement.student import student_quantile


def observed(truth: np.ndarray, launches: int, generator: np.random.Generator) -> tuple[list[Variance], np.ndarray]:
    """The variance of each cell's mean as its launches show it, and that mean, of which the truth is 0."""
    drawn = generator.normal(0, np.sqrt(truth)[:, None], (len(truth), launches))
    variances = drawn.var(axis=1, ddof=1)
    return [Variance(float(value), launches - 1.0) for value in variances], drawn.mean(axis=1) * math.sqrt(launches)


def missed(truth: np.ndarray, confidence: float, runs: int, *, launches: int = 4, cell: int | None = None):
    """How often intervals miss the truth, with the moderated variances and the cells' own, and both mean widths."""
    generator = np.random.default_rng(5)
    misses, widths, count = np.zeros(2), np.zeros(2), 0
    for _ in range(runs):
        own, means = observed(truth, launches, generator)
        for i, both in enumerate(zip(moderated(own), own, strict=True)):
            if cell is not None and i != cell:
                continue
            count += 1
            for which, item in enumerate(both):
                reach = student_quantile((1 + confidence) / 2, item.degrees) * math.sqrt(item.value)
                misses[which] += abs(means[i]) > reach
                widths[which] += reach
    return misses / count, widths / count


@pytest.mark.parametrize("confidence", [0.95, 0.996])
def test_cells_that_vary_alike_get_intervals_that_hold_and_are_far_narrower(confidence: float) -> None:
    rates, widths = missed(np.full(20, 0.02**2), confidence, 300)
    assert rates[0] <= 1.15 * (1 - confidence) + 0.001
    assert widths[0] < (0.8 if confidence == 0.95 else 0.55) * widths[1]


def test_cells_that_vary_by_all_degrees_keep_the_confidence() -> None:
    truth = 0.02**2 * np.exp(np.random.default_rng(1).normal(0, 1, 20))
    rates, _ = missed(truth, 0.99, 300)
    assert rates[0] < 0.013


def test_the_one_noisy_cell_is_not_taken_for_quiet() -> None:
    """Five times as noisy as its neighbours: its intervals miss more often than stated, but stay rare."""
    truth = np.full(20, 0.02**2)
    truth[7] *= 25
    rates, _ = missed(truth, 0.99, 1500, cell=7)
    assert rates[0] < 0.04


def test_the_common_variance_and_its_degrees_are_found() -> None:
    generator = np.random.default_rng(3)
    truth = 4.0 * 6 / generator.chisquare(6, 4000)  # scaled inverse chi squared: s0^2 = 4, d0 = 6
    own, _ = observed(truth, 5, generator)
    common = common_variance(own)
    assert common is not None
    assert common.value == pytest.approx(4.0, rel=0.1)
    assert common.degrees == pytest.approx(6.0, rel=0.25)


def test_cells_that_do_not_differ_are_worth_no_more_than_all_of_them_together() -> None:
    own = [Variance(1.0, 3.0)] * 5
    common = common_variance(own)
    assert common is not None
    assert common.degrees == 15.0


def test_few_cells_and_cells_without_a_variance_are_left_alone() -> None:
    few = [Variance(1.0, 3.0), Variance(4.0, 3.0), Variance(0.0, 3.0), Variance(1.0, math.inf)]
    assert common_variance(few) is None
    assert moderated(few) == few
    assert moderated([]) == []


def test_cells_disturbed_together_have_the_degrees_of_one() -> None:
    up, down = {0: 1.0, 1: 1.2}, {0: 5.0, 1: 4.0}
    assert joint_degrees([up] * 6, "aabbcc") == pytest.approx(1.0)
    assert joint_degrees([up], "a") == pytest.approx(1.0)
    # within both groups one cell goes up and one goes down: nothing is shared, and the rest has two degrees
    assert joint_degrees([up, down, up, down], "aabb") == pytest.approx(4**2 / (4**2 / 2))


def test_cells_of_their_own_have_nearly_the_sum_of_their_degrees() -> None:
    generator = np.random.default_rng(8)
    cells = [dict(enumerate(generator.normal(0, 1, 4))) for _ in range(40)]
    assert 90 < joint_degrees(cells, [i // 4 for i in range(40)]) < 120


def test_a_cell_without_variation_or_with_one_launch_adds_no_degrees() -> None:
    moving = {0: 1.0, 1: 2.0, 2: 0.0}
    assert joint_degrees([moving, {0: 1.0, 1: 1.0}, {0: 3.0}, {}], "aabb") == joint_degrees([moving], "a")
    assert joint_degrees([{0: 3.0}, {}], "ab") == 0.0
    assert joint_degrees([], "") == 0.0


def test_missing_launches_are_no_obstacle() -> None:
    cells = [{0: 1.0, 1: 2.0, 2: 0.5}, {0: 1.0, 1: 0.7}, {1: 4.0, 2: 5.0}, {0: 1.0, 2: 1.1}]
    assert 1.0 <= joint_degrees(cells, "abca") <= 5.0


def test_no_cell_has_more_degrees_than_all_have_together_nor_fewer_than_its_own() -> None:
    own = [Variance(1.0 + i / 10, 3.0) for i in range(8)]
    assert {item.degrees for item in moderated(own)} == {24.0}
    assert {item.degrees for item in moderated(own, most=5.0)} == {5.0}
    assert {item.degrees for item in moderated(own, most=1.0)} == {3.0}


def test_an_unusual_cell_hears_less_of_the_others() -> None:
    for factor, least in ((1.0, 15.0), (30.0, 3.0), (300.0, 3.0)):
        found = moderated([*[Variance(1.0 + i / 50, 3.0) for i in range(9)], Variance(factor, 3.0)])[-1]
        assert found.value >= factor
        assert found.degrees >= least
        assert found.degrees < (31.0 if factor == 1 else 6.0)
