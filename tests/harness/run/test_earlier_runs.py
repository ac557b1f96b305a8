"""Which runs count as earlier ones of the same work: nothing that differs may pass for noise."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_run import make_cell, make_record, node_budgets

from cnnbench.harness.passes.findings import Digests, Sample
from cnnbench.harness.run.earlier_runs import MOST_RUNS, earlier_latencies
from cnnbench.harness.run.store import RunStore

CELL = make_cell("resnet18", "numpy", 1)
ENVIRONMENT = {"cpu_model": "a", "packages": {"numpy": "2"}, "git": None, "load_average": [0.0]}


def made(root, name, environment=ENVIRONMENT, cell=CELL, latency_s=0.01, whole=True, **changes):
    folder = root / "suite" / name
    (folder / "cells").mkdir(parents=True)
    store = RunStore(folder)
    store.write_environment(environment)
    samples = tuple(Sample(launch=i, round=0, index=0, latency_s=latency_s) for i in range(3))
    record = make_record(cell, samples, node_budgets("numpy", np.random.default_rng(0)), **changes)
    store.write_record(record)
    if whole:
        (folder / "summary.json").write_text("{}")
    return store, record


def earlier(root, environment=ENVIRONMENT, cell=CELL):
    store, record = made(root, "5-this", environment, cell)
    found = earlier_latencies(store, [cell], {cell.id: record.digests})
    return [round(latency.median_s.value, 6) for latency in found.get(cell.id, ())]


def test_runs_of_the_same_work_count_the_latest_first_and_none_that_was_made_later(tmp_path):
    for i in range(3):
        made(tmp_path, f"{i}-run", {**ENVIRONMENT, "load_average": [float(i)]}, latency_s=0.01 * (i + 1))
    made(tmp_path, "6-later")
    assert earlier(tmp_path) == [0.03, 0.02, 0.01]


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": {**ENVIRONMENT, "cpu_model": "b"}},
        {"environment": {**ENVIRONMENT, "packages": {"numpy": "3"}}},
        {"environment": {**ENVIRONMENT, "git": {"commit": "1", "modified": False}}},
        {"environment": {**ENVIRONMENT, "git": {"commit": "1", "modified": True}}},
        {"cell": make_cell("resnet18", "numpy", 1, key="another")},
        {"status": "mismatch"},
        {"latency": None},
        {"digests": Digests(graph="g", weights="w", inputs="i")},
        {"whole": False},
    ],
)  # fmt: skip
def test_a_run_of_anything_else_does_not_count(tmp_path, changes):
    made(tmp_path, "1-run", **changes)
    assert earlier(tmp_path) == []


def test_where_files_were_changed_since_the_commit_no_run_counts(tmp_path):
    environment = {**ENVIRONMENT, "git": {"commit": "1", "modified": True}}
    made(tmp_path, "1-run", environment)
    assert earlier(tmp_path, environment) == []


def test_two_sides_have_no_earlier_runs(tmp_path):
    cell = make_cell("resnet18", "numpy", 1, side="base")
    made(tmp_path, "1-run", cell=cell)
    assert earlier(tmp_path, cell=cell) == []


def test_the_latest_runs_count_and_broken_ones_are_passed_over(tmp_path):
    for i in range(MOST_RUNS + 5):
        made(tmp_path, f"1-{i:02d}", latency_s=0.001 * (i + 1))
    (tmp_path / "suite" / "2-broken" / "cells").mkdir(parents=True)
    (tmp_path / "suite" / "2-broken" / "summary.json").write_text("{}")
    (tmp_path / "suite" / "2-broken" / "environment.json").write_text("[")
    found = earlier(tmp_path)
    assert len(found) == MOST_RUNS
    assert found[0] == 0.025
