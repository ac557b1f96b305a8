"""The gate on runs whose truth is known: how often it cries wolf, how often it finds a slowdown."""

from __future__ import annotations

from collections import Counter

import pytest
from synthetic_run import BACKENDS, Noise, Truth, synthetic_run

from cnnbench.gates.baselines import snapshot
from cnnbench.gates.verdicts import GateResult, gate

TRIALS = 20
USUAL = Noise()


def gated(seed: int, slowdown: dict[str, float], noise: Noise = USUAL, **changes: object) -> GateResult:
    base = synthetic_run(Truth(seed=2 * seed, noise=noise, **changes))
    head = synthetic_run(Truth(seed=2 * seed + 1, noise=noise, slowdown=slowdown, **changes))
    return gate(snapshot(head), snapshot(base))


def latencies(results: list[GateResult], backend: str | None = None) -> Counter[str]:
    return Counter(
        verdict.verdict
        for result in results
        for verdict in result.verdicts
        if verdict.metric == "latency" and backend in (None, verdict.series.split()[0])
    )


@pytest.mark.parametrize("drift", [0.02, 0.04, 0.08])
def test_a_suite_run_twice_is_unchanged_whatever_the_machine_drifts(drift: float) -> None:
    results = [gated(seed, {}, Noise(run=drift)) for seed in range(TRIALS)]

    assert Counter(result.exit_code for result in results) == {0: TRIALS}
    assert latencies(results)["regressed"] == 0
    assert latencies(results)["improved"] == 0


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_backend_slowed_by_a_fifth_is_a_regression_and_only_that_backend(backend: str) -> None:
    results = [gated(seed, {backend: 1.2}) for seed in range(TRIALS)]

    assert Counter(result.exit_code for result in results) == {1: TRIALS}
    for other in BACKENDS.keys() - {backend}:
        assert latencies(results, other)["regressed"] == 0
        assert latencies(results, other)["improved"] == 0


def test_a_faster_backend_is_an_improvement_and_lets_the_others_pass() -> None:
    results = [gated(seed, {"jax": 0.7}) for seed in range(TRIALS)]

    assert all(result.exit_code in (0, 5) for result in results)
    assert latencies(results, "jax")["improved"] > 0.9 * 4 * TRIALS
    assert latencies(results)["regressed"] == 0


def test_where_every_backend_slows_and_the_yardsticks_do_not_nothing_is_called_green() -> None:
    results = [gated(seed, dict.fromkeys(BACKENDS, 1.2)) for seed in range(TRIALS)]

    assert Counter(result.exit_code for result in results) == {5: TRIALS}
    doubts = [verdict.reason for verdict in results[0].verdicts if verdict.metric == "latency"]
    assert all("whether the machine or every backend changed cannot be told" in doubt for doubt in doubts)


def test_a_noisy_machine_makes_it_inconclusive_never_wrong() -> None:
    results = [gated(seed, {}, Noise(launch=0.08, call=0.1)) for seed in range(TRIALS)]

    assert latencies(results)["regressed"] == 0
    assert latencies(results)["inconclusive"] > 0.3 * latencies(results).total()


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    truth = 1.2
    results = [gated(seed, {"torch": truth}) for seed in range(TRIALS)]
    intervals = [
        verdict.change
        for result in results
        for verdict in result.verdicts
        if verdict.metric == "latency" and verdict.series == "torch eager" and verdict.change
    ]

    covered = sum(interval.low <= truth <= interval.high for interval in intervals)
    assert len(intervals) == 4 * TRIALS
    assert 0.93 * len(intervals) <= covered


def test_what_is_said_to_be_detectable_is_detected() -> None:
    """The smallest detectable change that a run states, made true, is found in about the stated share of runs."""
    stated = [
        verdict.detectable
        for verdict in gated(0, {}).verdicts
        if verdict.metric == "latency" and verdict.detectable is not None
    ]
    factor = 1 + sorted(stated)[len(stated) // 2]

    found = latencies([gated(seed, {"torch": factor}) for seed in range(TRIALS)], "torch")
    assert found["regressed"] / found.total() >= 0.6


@pytest.mark.parametrize("backends", [("torch",), ("torch", "jax"), ("numpy", "torch", "jax")])
def test_fewer_backends_cost_power_but_raise_no_alarm(backends: tuple[str, ...]) -> None:
    same = [gated(seed, {}, backends=backends) for seed in range(TRIALS)]
    slow = [gated(seed, {"torch": 1.5}, backends=backends) for seed in range(TRIALS)]

    assert latencies(same)["regressed"] == 0
    assert all(result.exit_code == 1 for result in slow)
