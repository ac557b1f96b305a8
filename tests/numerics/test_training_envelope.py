"""Training curves are held to the spread of reference runs, for as long as that spread says anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.training_crossings import curve_crossings
from cnnbench.numerics.training_envelope import ALARM, SURE_STEPS, CurveEnvelope, agreement, envelope, parted, perturbed
from cnnbench.registry import build
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

FLOAT32 = ProgramOptions("fast", precision("float32"))


def test_every_value_moves_by_exactly_one_unit_in_the_last_place():
    weights = {"a": np.linspace(-3, 3, 50, dtype=np.float32), "zero": np.zeros(3, np.float32), "n": np.arange(3)}
    moved = perturbed(weights, seed=0, run=1)
    assert moved["a"].dtype == np.float32
    steps = np.abs(moved["a"].view(np.int32).astype(np.int64) - weights["a"].view(np.int32))
    assert set(steps.tolist()) == {1}
    assert {*np.sign(moved["a"] - weights["a"]).tolist()} == {-1.0, 1.0}
    np.testing.assert_array_equal(moved["zero"], 0)
    np.testing.assert_array_equal(moved["n"], weights["n"])
    again = perturbed(weights, seed=0, run=1)["a"]
    np.testing.assert_array_equal(again, moved["a"])
    assert (perturbed(weights, seed=0, run=2)["a"] != moved["a"]).any()


def test_the_spread_never_falls_and_ends_the_comparison_where_chaos_begins():
    runs = [[1.0, 1.0, 1.0, 1.0], [1.0, 1.02, 1.01, 1.5]]
    found = envelope(runs, [0.9, 0.91])
    assert found.spread == pytest.approx((0.0, 0.02, 0.02, 0.5))
    assert found.middle == pytest.approx((1.0, 1.01, 1.005, 1.25))
    assert found.steps == 3


def test_a_curve_within_the_envelope_agrees_and_one_outside_names_its_step():
    found = envelope([[1.0, 0.8, 0.6], [1.0, 0.8002, 0.6004]], [0.9, 0.92])
    inside = agreement([1.0, 0.8001, 0.6002], 0.91, found)
    assert inside.agrees
    assert inside.used < 0.1
    assert inside.accuracy_difference == pytest.approx(0.0)
    outside = agreement([1.0, 0.8001 + 1.5 * ALARM * 0.0004, 0.6], 0.5, found)
    assert not outside.agrees
    assert outside.worst_step == 2
    assert outside.used == pytest.approx(1.5, rel=0.01)
    assert outside.accuracy_difference == pytest.approx(-0.41)


def test_a_curve_may_be_one_step_ahead_of_the_reference_runs_but_not_at_the_first():
    exact = np.full(5, 2.0)
    spread = np.array([1e-7, 1e-6, 1e-4, 1e-2, 1e-2])
    found = envelope([exact, exact + spread], [0.5, 0.5], exact)
    assert found.spread == pytest.approx(tuple(spread))
    ahead = exact + np.array([1e-7, 1e-4, 1e-2, 1e-2, 1e-2])
    assert agreement(ahead, 0.5, found).agrees
    ahead[1] += 2 * ALARM * 1e-4
    assert agreement(ahead, 0.5, found).parts_at == 2
    early = exact + 2 * ALARM * spread[0]
    assert agreement(early, 0.5, found).parts_at == 1


def test_the_centre_is_the_float64_run_and_the_spread_the_distance_from_it():
    exact = [2.0, 1.0, 0.5]
    found = envelope([[2.0, 1.01, 0.5], [2.0, 1.02, 0.51]], [0.5, 0.5], exact)
    assert found.middle == tuple(exact)
    assert found.spread == pytest.approx((0.0, 0.02, 0.02))
    assert agreement(exact, 0.5, found).centre == "float64"
    assert agreement(exact, 0.5, envelope([exact, exact], [0.5, 0.5])).centre == "mean"


def test_the_float64_run_may_stop_where_the_curves_have_parted():
    losses = [2.0, 1.0, 0.5, 0.3]
    exact = [2.0, 1.01, 0.6, 0.2]
    ends = [parted(step, loss, losses) for step, loss in enumerate(exact, start=1)]
    assert ends == [False, False, True, True]
    assert parted(2, float("nan"), losses)
    whole = envelope([losses, losses], [0.5, 0.5], exact)
    short = envelope([losses, losses], [0.5, 0.5], exact[:3])
    assert short.steps == whole.steps == 2
    other = [2.0, 1.02, 0.9, 0.9]
    told = [agreement(other, 0.5, found) for found in (whole, short)]
    one, two = (item.model_copy(update={"middle": (), "spread": ()}) for item in told)
    assert one == two
    assert told[0].steps_compared == 2


def test_a_curve_that_parts_late_is_neither_called_right_nor_wrong():
    losses = np.linspace(2.0, 1.0, 30)
    found = envelope([losses, losses * (1 + 1e-7)], [0.5, 0.5])
    for step, verdict in ((3, False), (SURE_STEPS, False), (SURE_STEPS + 1, None), (30, None)):
        curve = losses.copy()
        curve[step - 1 :] += 1e-3
        facts = agreement(curve, 0.5, found)
        assert (facts.parts_at, facts.agrees) == (step, verdict)
    assert agreement(losses, 0.5, found).parts_at is None


def test_a_curve_that_is_no_number_is_outside():
    facts = agreement([1.0, float("nan")], 0.5, envelope([[1.0, 0.9], [1.0, 0.9]], [0.5, 0.5]))
    assert (facts.parts_at, facts.agrees) == (2, False)


def test_a_first_step_without_any_spread_allows_a_few_units_in_the_last_place_only():
    found = envelope([[2.0], [2.0]], [0.5, 0.5])
    assert agreement([2.0 * (1 + 2.0**-23)], 0.5, found).agrees
    assert not agreement([2.0 * (1 + 2.0**-19)], 0.5, found).agrees


def test_runs_that_part_at_once_leave_nothing_to_compare_and_no_verdict():
    found = envelope([[1.0, 1.0], [2.0, float("nan")]], [0.1, 0.2])
    facts = agreement([1.0, 1.0], 0.1, found)
    assert facts.steps_compared == 0
    assert facts.agrees is None
    assert facts.used is None


@pytest.mark.slow
def test_a_right_curve_in_which_one_value_crosses_0_is_not_called_wrong():
    """LeNet-5 on digits, batch 256, with OpenBLAS for AVX-512: one pre-activation crosses 0 at step 3."""
    exact = (2.3002362588327028, 2.297722511603018, 2.2957369115182873, 2.2978895221373756, 2.2891407999123192)
    spread = (3.3704528945577295e-08, *4 * (1.71972891038763e-07,))
    seen = (2.300236225128174, 2.297722339630127, 2.2957358360290527, 2.2978858947753906, 2.289137601852417)
    narrow = CurveEnvelope(exact, spread, 5, (0.203,), exact=True)
    assert agreement(seen, 0.203, narrow).agrees is False
    settings = TrainSettings(epochs=1, batch=256, optimizer=SGD(momentum=0.9), learning_rate=0.05)
    task = TrainingTask(load_backend("numpy"), graph := build("lenet5"), initialize(graph, 0), settings, FLOAT32)
    moved = curve_crossings(task, exact)
    assert max(moved) < 1e-5
    found = agreement(seen, 0.203, replace(narrow, crossings=moved))
    assert found.agrees
    assert found.used < 0.8


def test_crossings_are_added_to_what_a_curve_may_be_off_and_never_fall():
    losses = [2.0, 1.0, 0.5, 0.25]
    found = replace(envelope([losses, losses], [0.5, 0.5], losses), crossings=(0.0, 1e-3, 1e-4))
    off = [0.0, 0.9e-3, 0.9e-3, 0.0]
    assert agreement(np.add(losses, off), 0.5, found).agrees
    assert agreement(np.add(losses, [0, 1.1e-3, 0, 0]), 0.5, found).parts_at == 2
    assert agreement(np.add(losses, [1e-4, 0, 0, 0]), 0.5, found).parts_at == 1
