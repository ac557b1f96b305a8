"""Sequential sampling: the risk of all interim analyses together, and which cells go on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_run import Noise, Truth, synthetic_run

from cnnbench.gates.alpha_spending import AlphaSpending
from cnnbench.gates.judgement import Change, judgement
from cnnbench.gates.rules import Rules
from cnnbench.gates.sequential import undecided_by
from cnnbench.harness.suite.gates import Gates
from cnnbench.harness.suite.model import Suite

SPENDING = AlphaSpending(first=2, last=10)
THRESHOLD = 0.02
LATENCY_ALONE = Gates.model_validate({"latency": {"threshold": THRESHOLD, "min_change_s": 0.0}})


@pytest.mark.parametrize("spending", [SPENDING, AlphaSpending(1, 4), AlphaSpending(3, 30), AlphaSpending(5, 5)])
def test_all_analyses_together_spend_the_whole_risk_and_no_more(spending: AlphaSpending) -> None:
    levels = [spending.confidence(launches, 0.95) for launches in range(spending.first, spending.last + 1)]
    assert sum(1 - level for level in levels) == pytest.approx(0.05)
    assert all(0.95 <= level < 1 for level in levels)


def test_a_launch_beyond_the_last_counts_as_the_last() -> None:
    assert SPENDING.confidence(12, 0.95) == SPENDING.confidence(10, 0.95)


def found(truth: float, spending: AlphaSpending | None, seed: int) -> bool:
    """Whether any analysis of launches that vary by 2 % calls a change beyond the threshold."""
    rules = Rules()
    launches = np.random.default_rng(seed).normal(truth, 0.02, SPENDING.last)
    for count in range(SPENDING.first, SPENDING.last + 1):
        change = Change(
            estimate=float(launches[:count].mean()),
            error=0.02 / math.sqrt(count),
            degrees=math.inf,
            threshold=THRESHOLD,
            confidence=spending.confidence(count, rules.gates.confidence) if spending else None,
        )
        if judgement(change, rules, discovered=True)[0] == "regressed":
            return True
    return False


def test_analysing_often_does_not_add_to_the_risk() -> None:
    """A true change that is just tolerated is the hardest: one tail, so half of the risk of 5 %."""
    trials = 4000
    careless = sum(found(THRESHOLD, None, seed) for seed in range(trials)) / trials
    careful = sum(found(THRESHOLD, SPENDING, seed) for seed in range(trials)) / trials
    assert careless > 0.06
    assert 0.003 < careful < 0.025


def test_a_change_of_twice_the_threshold_and_more_is_found() -> None:
    trials = 1000
    assert sum(found(0.05, SPENDING, seed) for seed in range(trials)) / trials > 0.95


def test_an_analysis_that_may_spend_a_tenth_of_the_risk_multiplies_its_p_value() -> None:
    change = Change(estimate=0.05, error=0.02, degrees=math.inf, threshold=0.02)
    later = replace(change, confidence=0.995)
    assert later.p_discovery(Rules()) == pytest.approx(10 * change.p_changed)
    assert change.p_discovery(Rules()) == change.p_changed


def timed(slowdown: float, noise: Noise):
    """The cells of both sides with their samples, NumPy slowed on the head's."""
    truth = Truth(seed=3, launches=3, noise=noise, batches=(1,), side="base")
    base = synthetic_run(truth)
    head = synthetic_run(replace(truth, seed=4, side="head", slowdown={"numpy": slowdown}))
    cells = ((run, record.cell) for run in (base, head) for record in run.records)
    return [(cell, run.samples[cell.id]) for run, cell in cells if cell.id in run.samples]


def test_only_what_cannot_be_told_goes_on() -> None:
    rules = Rules(
        Gates.model_validate({"latency": {"threshold": 0.02, "min_change_s": 0.0}}), spending=AlphaSpending(3, 10)
    )
    quiet = Noise(run=0, group=0, round=0, launch=0.0005, call=0.001, spikes=0)
    cells = timed(1.2, quiet)
    assert undecided_by(rules)(cells) == frozenset()
    keys = {cell.key for cell, _ in cells}
    assert undecided_by(rules)(timed(1.0, replace(quiet, launch=0.2))) == keys
    slowed = {cell.key for cell, _ in cells if cell.backend == "numpy"}
    assert undecided_by(rules)(timed(2.0, replace(quiet, launch=0.05))) == keys - slowed


def test_a_cell_with_one_side_only_does_not_go_on() -> None:
    rules = Rules(
        Gates.model_validate({"latency": {"threshold": 0.02, "min_change_s": 0.0}}), spending=AlphaSpending(3, 10)
    )
    cells = timed(1.0, Noise(launch=0.05))
    first = cells[0][0].key
    lacking = [(cell, () if cell.key == first and cell.side == "head" else samples) for cell, samples in cells]
    assert undecided_by(rules)(lacking) == {cell.key for cell, _ in cells} - {first}


def test_a_suite_that_judges_no_latency_takes_no_further_launch() -> None:
    rules = Rules(Gates.model_validate({"latency": None}), spending=AlphaSpending(3, 10))
    assert undecided_by(rules)(timed(1.0, Noise(launch=0.05))) == frozenset()


def test_the_rules_of_a_suite_know_its_interim_analyses() -> None:
    suite = {
        "schema_version": 1,
        "name": "sequential",
        "matrix": {"architectures": ["lenet5"], "backends": ["numpy"]},
        "measure": {"latency": {"launches": 3, "sequential": {"max_launches": 8}}},
    }
    assert Rules.of(Suite.model_validate(suite)).spending == AlphaSpending(3, 8)
    suite["measure"] = {"latency": {"launches": 3}}
    assert Rules.of(Suite.model_validate(suite)).spending is None
