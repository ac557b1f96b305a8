"""Frames of runs whose truth is known: one row each, every column in its type, nothing made up for what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from synthetic_run import synthetic_run, write_run

from cnnbench.errors import SuiteError
from cnnbench.gates.baselines import snapshot
from cnnbench.gates.verdicts import gate
from cnnbench.output import frame_columns as columns
from cnnbench.output import frames

RUN = synthetic_run(backends=("numpy", "torch"), batches=(1, 8))
FAILED = RUN.records[0].model_copy(update={"status": "crashed", "reason": "signal 9", "latency": None, "memory": None})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a suite; in the second the first cell crashed, and a plugin gave a figure of the last."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(RUN, folder)
    last = RUN.records[-1].model_copy(update={"metrics": {"images_per_joule": 3.5}})
    records = (FAILED, *RUN.records[1:-1], last)
    write_run(replace(RUN, run_id="20260102T000000Z-000001", records=records), folder)
    return folder


FRAMES = {
    "results": columns.RESULTS,
    "samples": columns.SAMPLES,
    "checks": columns.CHECKS,
    "node_budgets": columns.NODES,
    "history": columns.RESULTS,
}


@pytest.mark.parametrize("name", FRAMES)
def test_every_column_is_there_in_its_type(root: Path, name: str) -> None:
    frame = getattr(frames, name)("synthetic", root)
    assert list(frame.columns)[: len(FRAMES[name])] == list(FRAMES[name])
    assert {column: str(frame[column].dtype) for column in FRAMES[name]} == FRAMES[name]
    assert list(frame.index) == list(range(len(frame)))


@pytest.mark.parametrize("types", FRAMES.values(), ids=FRAMES)
def test_an_empty_frame_has_the_same_columns_and_types(types: dict[str, str]) -> None:
    frame = frames.frame_of([], types)
    assert frame.empty
    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == types


def test_results_hold_what_the_records_say(root: Path) -> None:
    first = frames.results(RUN.run_id, root).set_index("cell")
    assert len(first) == len(RUN.records)
    for record in RUN.records:
        row = first.loc[record.cell.id]
        assert (row["network"], row["backend"], row["batch"]) == (
            record.cell.architecture, record.cell.backend, record.cell.batch,
        )  # fmt: skip
        if record.latency is not None:
            interval = record.latency.median_s
            assert (row["latency_median_s"], row["latency_low_s"], row["latency_high_s"]) == (
                interval.value, interval.low, interval.high,
            )  # fmt: skip
            assert row["throughput_images_per_s"] == record.latency.throughput_images_per_s.value
            assert row["peak_memory_bytes"] == record.memory.peak_bytes
            assert row["budget_used"] == max(c.budget_used for c in record.checks if c.budget_used is not None)
    training = first[first["test_accuracy"].notna()]
    assert set(training["network"]) == {"resnet20"}
    assert training["latency_median_s"].isna().all()
    assert training["failed_checks"].isna().all()


def test_what_was_not_measured_is_missing_and_not_zero(root: Path) -> None:
    crashed = frames.results("latest", root).iloc[0]
    assert (crashed["status"], crashed["reason"]) == ("crashed", "signal 9")
    assert pd.isna(crashed["latency_median_s"])
    assert pd.isna(crashed["peak_memory_bytes"])
    assert pd.isna(crashed["samples"])


def test_figures_of_plugins_are_further_columns(root: Path) -> None:
    given = frames.results("latest", root)["images_per_joule"]
    assert given.dtype == "float64"
    assert given.dropna().tolist() == [3.5]
    assert "images_per_joule" not in frames.results(RUN.run_id, root)


def test_a_planned_cell_without_a_record_is_a_row(tmp_path: Path) -> None:
    from cnnbench.harness.run.store import RunStore
    from cnnbench.harness.suite.file import load_suite
    from cnnbench.harness.suite.plan import plan

    suite = tmp_path / "tiny.yaml"
    suite.write_text("schema_version: 1\nname: tiny\nmatrix: {architectures: lenet5, backends: numpy}\n")
    store = RunStore.create("tiny", tmp_path)
    store.write_plan(plan(load_suite(suite)))
    frame = frames.results("tiny", tmp_path)
    assert frame["status"].tolist() == ["not run"]
    assert frame["network"].tolist() == ["lenet5"]
    assert frames.samples("tiny", tmp_path).empty


def test_samples_are_every_call_with_its_launch_and_round(root: Path) -> None:
    frame = frames.samples(RUN.run_id, root)
    assert len(frame) == sum(map(len, RUN.samples.values()))
    name, calls = next(iter(RUN.samples.items()))
    kept = frame[frame["cell"] == name]
    assert kept[["launch", "round", "index", "latency_s"]].astype(float).to_numpy().tolist() == [
        [call.launch, call.round, call.index, call.latency_s] for call in calls
    ]


def test_checks_and_nodes_hold_what_was_used(root: Path) -> None:
    checks = frames.checks(RUN.run_id, root)
    assert len(checks) == sum(len(record.checks) for record in RUN.records)
    nodes = frames.node_budgets(RUN.run_id, root)
    assert len(nodes) == sum(map(len, RUN.budgets.values()))
    local = checks[checks["check"] == "local"].set_index("cell")["budget_used"]
    assert (nodes.groupby("cell")["budget_used"].max().loc[local.index] == local).all()
    assert set(nodes["quantity"]) == {"output"}


def test_history_is_every_run_the_oldest_first(root: Path) -> None:
    frame = frames.history("synthetic", root)
    assert frame["run"].drop_duplicates().tolist() == [RUN.run_id, "20260102T000000Z-000001"]
    assert len(frame) == 2 * len(RUN.records)
    assert frame["machine"].nunique() == 1


def test_a_suite_without_runs_is_an_error_with_the_nearest_name(root: Path) -> None:
    with pytest.raises(SuiteError, match="did you mean 'synthetic'"):
        frames.history("synthetik", root)


def test_verdicts_are_one_row_a_cell_and_metric() -> None:
    slower = synthetic_run(backends=("numpy", "torch"), batches=(1, 8), slowdown={"torch": 2.0})
    result = gate(snapshot(slower), snapshot(RUN))
    frame = frames.verdicts(result)
    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == columns.VERDICTS
    assert len(frame) == len(result.verdicts)
    latency = frame[(frame["metric"] == "latency") & (frame["series"] == "torch eager")]
    assert set(latency["verdict"]) == {"regressed"}
    assert latency["change"].between(1.8, 2.2).all()
    assert (latency["head"] / latency["base"]).between(1.8, 2.2).all()
