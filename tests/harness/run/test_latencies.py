"""The latencies of a run's cells: steadied together, one estimate in every table, plain about what they cover."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_run import make_cell, synthetic_run

from cnnbench.gates.baselines import snapshot
from cnnbench.gates.rules import Rules
from cnnbench.gates.verdicts import gate, gate_sides
from cnnbench.harness.passes.findings import LaunchPart, Parts, Phases, Sample
from cnnbench.harness.run.latencies import CellFigures, cell_figures
from cnnbench.measurement.levels import latency_spread
from cnnbench.measurement.statistics import grouped
from cnnbench.measurement.turn_ratio import ratio_in_turns

BACKENDS = ("numpy", "torch", "jax", "tensorflow")


def parts_of(samples, control=()) -> Parts:
    launches = sorted({sample.launch for sample in samples})
    return Parts(
        launches=tuple(
            LaunchPart(
                launch=launch, phases=Phases(), steady=True, calls_per_sample=1,
                samples=tuple(item for item in samples if item.launch == launch),
                control=tuple(item for item in control if item.launch == launch),
            )
            for launch in launches
        )
    )  # fmt: skip


def timed(generator, *, launches=3, scale=1.0, drift=None, launch=0.02):
    """Calls of about 10 ms; ``drift`` slows those of both sides of a cell alike."""
    found = []
    for number in range(launches):
        own = generator.normal(0, launch)
        for a in range(4):
            for i in range(5):
                value = (
                    0.01
                    * scale
                    * math.exp(own + generator.normal(0, 0.01) + (drift[number, a, i] if drift is not None else 0))
                )
                found.append(Sample(launch=number, round=a, index=i, latency_s=value))
    return tuple(found)


def test_one_launch_says_what_its_interval_covers_and_several_do_too():
    generator = np.random.default_rng(0)
    for launches, covers in ((1, "rounds"), (2, "launches")):
        cell = make_cell("resnet18", "numpy", 1)
        latency = cell_figures([(cell, parts_of(timed(generator, launches=launches)))])[cell.id].latency
        assert latency is not None
        assert (latency.covers, latency.launches) == (covers, launches)
        assert ("how its rounds differ, not how processes do" in (latency.note or "")) == (launches == 1)
        assert latency.throughput_images_per_s.low == pytest.approx(1 / latency.median_s.high)


def test_two_launches_that_differ_by_chance_no_longer_print_an_interval_from_8_to_91():
    """Sixteen cells of two launches: by itself each has one degree of freedom, and Student's t of 12.7."""
    generator = np.random.default_rng(1)
    cells = [make_cell("resnet18", backend, batch) for backend in BACKENDS for batch in (1, 2, 4, 8)]
    found = [(cell, parts_of(timed(generator, launches=2, launch=0.07))) for cell in cells]
    alone = [cell_figures([item])[item[0].id].latency.median_s for item in found]
    together = [figures.latency.median_s for figures in cell_figures(found).values()]
    assert [item.value for item in alone] == [item.value for item in together]
    half = [[math.sqrt(item.high / item.low) for item in each] for each in (alone, together)]
    assert np.median(half[0]) > 1.25
    assert max(half[0]) > 2
    assert np.median(half[1]) < 1.2
    assert max(half[1]) < 1.6


def test_the_quantiles_of_a_cell_are_in_order():
    generator = np.random.default_rng(2)
    cell = make_cell("resnet18", "torch", 1)
    latency = cell_figures([(cell, parts_of(timed(generator)))])[cell.id].latency
    assert latency.median_s.value < latency.p90_s.value < latency.p99_s.value
    for item in (latency.median_s, latency.p90_s, latency.p99_s):
        assert item.low < item.value < item.high


def test_cells_without_samples_have_no_figures():
    cell = make_cell("resnet18", "torch", 1)
    assert cell_figures([(cell, Parts())]) == {}
    assert cell_figures([]) == {}
    assert CellFigures().latency is None


def test_controls_are_steadied_beside_each_other():
    generator = np.random.default_rng(3)
    found = [
        (make_cell("resnet18", "torch", batch), parts_of(timed(generator, launches=2), timed(generator, launches=2)))
        for batch in range(1, 9)
    ]
    figures = cell_figures(found)
    assert all(item.control is not None and len(item.control.rounds) == 8 for item in figures.values())
    alone = [cell_figures([item])[item[0].id].control.ratio for item in found]
    widths = [
        np.median([ratio.high / ratio.low for ratio in each])
        for each in (alone, [item.control.ratio for item in figures.values()])
    ]
    assert widths[1] < widths[0]


def two_sides(seed, change):
    """An A/B run of eight cells on a machine that drifts by a tenth from call to call, and its evidence."""
    generator = np.random.default_rng(seed)
    run = synthetic_run(seed=1)
    found, samples = [], {}
    for backend in BACKENDS:
        for batch in (1, 8):
            drift = generator.normal(0, 0.1, (3, 4, 5))
            for side in ("base", "head"):
                cell = make_cell("resnet18", backend, batch, side=side)
                samples[cell.id] = timed(generator, scale=change if side == "head" else 1.0, drift=drift)
                found.append((cell, parts_of(samples[cell.id])))
    figures = cell_figures(found)
    like = next(record for record in run.records if record.latency)
    records = tuple(
        like.model_copy(update={"cell": cell, "latency": figures[cell.id].latency, "checks": (), "memory": None})
        for cell, _ in found
    )
    return replace(run, records=records, samples=samples), figures


def test_an_ab_run_has_one_pair_of_figures_whose_ratio_is_the_change_that_is_printed():
    run, figures = two_sides(5, 1.03)
    result = gate_sides(snapshot(run), Rules())
    verdicts = [verdict for verdict in result.verdicts if verdict.metric == "latency"]
    assert len(verdicts) == 8
    for verdict in verdicts:
        in_results = [figures[name].latency.median_s.value for name in (verdict.subject + "-base", verdict.subject)]
        assert [verdict.baseline, verdict.head] == pytest.approx(in_results, rel=1e-12)
        assert verdict.head / verdict.baseline == pytest.approx(verdict.change.value, rel=1e-12)
        head, base = (grouped(run.samples[name]) for name in (verdict.subject, verdict.subject + "-base"))
        assert verdict.change.value == pytest.approx(ratio_in_turns(head, base).value, rel=1e-12)
        middle = (latency_spread(head).value + latency_spread(base).value) / 2
        assert math.log(verdict.head * verdict.baseline) / 2 == pytest.approx(middle)


def test_of_two_runs_the_figures_are_those_of_results_and_the_drift_between_them_is_named():
    base, head = synthetic_run(seed=2), synthetic_run(seed=3)
    result = gate(snapshot(head), snapshot(base), Rules())
    verdicts = [verdict for verdict in result.verdicts if verdict.metric == "latency" and verdict.change]
    assert verdicts
    for verdict in verdicts:
        for figure, run in ((verdict.baseline, base), (verdict.head, head)):
            assert figure == pytest.approx(math.exp(latency_spread(grouped(run.samples[verdict.subject])).value))
        drift = verdict.head / verdict.baseline / verdict.change.value - 1
        assert (f"without the machine's drift of {drift:+.1%}" in verdict.reason) == (abs(drift) >= 0.0005)


def run_of(level, generator, cells, spread=0.004):
    """A run's cells, all ``level`` slower than usual."""
    return [(cell, parts_of(timed(generator, scale=math.exp(level), launch=spread))) for cell in cells]


def test_earlier_runs_widen_intervals_that_no_run_by_itself_could_make_wide_enough():
    """Every run has a minute of its own, 4 % up or down: its launches lie 0.4 % apart, and show nothing of that."""
    generator = np.random.default_rng(3)
    cells = [make_cell("resnet18", backend, batch) for backend in BACKENDS for batch in (1, 8)]
    own, known, history = [], [], {cell.id: () for cell in cells}
    for _ in range(40):
        found = run_of(generator.normal(0, 0.04), generator, cells)
        alone, widened = cell_figures(found), cell_figures(found, history)
        for cell in cells:
            middle = alone[cell.id].latency.median_s
            own.append(middle.low <= 0.01 <= middle.high)
            if len(history[cell.id]) >= 3:
                latency = widened[cell.id].latency
                assert latency.median_s.value == middle.value
                known.append(latency.median_s.low <= 0.01 <= latency.median_s.high)
                assert latency.covers == "runs"
                assert f"this run and {len(history[cell.id])} earlier ones" in latency.note
            else:
                assert widened[cell.id] == alone[cell.id]
            history[cell.id] = (*history[cell.id], alone[cell.id].latency)
    assert np.mean(own) < 0.5
    assert 0.92 < np.mean(known) <= 1


def test_earlier_runs_that_agree_leave_an_interval_as_it_is():
    generator = np.random.default_rng(4)
    cells = [make_cell("resnet18", backend, 1) for backend in BACKENDS]
    earlier = [cell_figures(run_of(0.0, generator, cells, 0.001)) for _ in range(8)]
    history = {cell.id: tuple(figures[cell.id].latency for figures in earlier) for cell in cells}
    found = run_of(0.0, generator, cells, 0.2)
    assert cell_figures(found, history) == cell_figures(found)
