"""The MLflow recorder on a SQLite store: what is there afterwards, and what happens when nothing answers."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import zlib
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from synthetic_run import BACKENDS, synthetic_run, write_run

from cnnbench.errors import UnavailableError
from cnnbench.harness.run.store import RunStore
from cnnbench.output.mlflow_ui import newest_logged
from cnnbench.output.palette import colours
from cnnbench.output.recorders.mlflow import Logged, _log, _reported, links, log_run, read_mark
from cnnbench.output.recorders.mlflow_layout import NOTE_LIMIT, MetricPoint, note, plan_runs
from cnnbench.output.recorders.mlflow_rows import write_runs
from cnnbench.output.recorders.mlflow_store import PROBE_S, prepare
from cnnbench.output.recorders.mlflow_training import trained_on
from cnnbench.output.recorders.mlflow_views import LIMIT, View, comparison_points, tag_of, views
from cnnbench.output.reports import write_reports


class Store:
    """A store with one run logged into it twice."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.run = synthetic_run(seed=3)
        self.folder = write_run(self.run, folder)
        self.first = log_run(self.folder, self.uri)
        self.logged = log_run(self.folder, self.uri)

    def runs(self, where: str = "") -> list[Any]:
        from mlflow import MlflowClient

        return list(
            MlflowClient(tracking_uri=self.uri).search_runs([self.logged.experiment_id], where, max_results=500)
        )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("mlflow"))


def test_the_experiment_is_named_after_the_suite_and_holds_one_parent(store: Store) -> None:
    from mlflow import MlflowClient

    experiment = MlflowClient(tracking_uri=store.uri).get_experiment(store.logged.experiment_id)
    parents = store.runs("tags.`cnnbench.kind` = 'suite'")

    assert experiment.name == "cnnbench/synthetic"
    assert [run.info.run_id for run in parents] == [store.logged.run_id]  # the first attempt was replaced
    assert parents[0].info.run_name == store.run.run_id
    assert "torch eager" in parents[0].data.tags["mlflow.note.content"]
    assert set(parents[0].data.metrics) >= {f"geomean_p50_ms/{b} {m}" for b, m in BACKENDS.items()}


def test_every_cell_is_a_child_with_rounded_figures_and_its_backends_colour(store: Store) -> None:
    children = {run.data.tags["cnnbench.cell"]: run for run in store.runs("tags.`cnnbench.kind` = 'point'")}
    expected = colours(record.cell for record in store.run.records)

    assert set(children) == {record.cell.id for record in store.run.records}
    record = next(record for record in store.run.records if record.cell.id == "resnet50-jax-jit-b8")
    child = children[record.cell.id]
    assert record.latency
    assert child.data.metrics["p50_ms"] == float(f"{record.latency.median_s.value * 1e3:.3e}")
    assert child.data.metrics["peak_mb"] == float(f"{record.memory.peak_bytes / 2**20:.3e}")  # type: ignore[union-attr]
    assert child.data.params["backend"] == "jax"
    assert child.data.params["batch"] == "8"
    assert child.data.tags["mlflow.runColor"] == expected["jax jit"]
    assert child.data.tags["mlflow.parentRunId"] == store.logged.run_id
    assert child.data.tags["version.jax"] == "2.1.0"


def test_curves_have_steps(store: Store) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store.uri)
    scaling = store.runs("tags.`cnnbench.kind` = 'scaling'")
    training = store.runs("tags.`cnnbench.kind` = 'training'")

    assert len(scaling) == 8
    assert len(training) == 4
    assert [m.step for m in client.get_metric_history(scaling[0].info.run_id, "p50_ms")] == [1, 8]
    losses = client.get_metric_history(training[0].info.run_id, "train/loss")
    assert [metric.step for metric in losses] == list(range(1, 61))


def test_a_training_has_its_datasets_among_its_inputs(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run = replace(synthetic_run(seed=3), settings={"train": {"data": "digits"}})
    planned = plan_runs(run, colours(record.cell for record in run.records))
    trainings = [child for child in planned.children if child.kind == "training"]
    assert [child.datasets for child in trainings] == [("digits",)] * 4
    assert {child.datasets for child in planned.children if child.kind != "training"} == {()}
    by_program = run.records[0].cell.model_copy(update={"program": "cyclegan_tiny"})
    assert trained_on(run, by_program) == ("digits_a", "digits_b")

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    logged = _log(client, client.create_experiment("inputs"), trainings[0], {})
    (found,) = client.get_run(logged).inputs.dataset_inputs
    assert (found.dataset.name, found.tags[0].value) == ("digits", "training")
    assert found.dataset.digest


def test_views_are_tags_of_the_experiment_that_show_the_latest_run(store: Store) -> None:
    from mlflow import MlflowClient

    tags = MlflowClient(tracking_uri=store.uri).get_experiment(store.logged.experiment_id).tags
    saved = {
        name.rpartition(".sharedViewState.")[2]: json.loads(v) for name, v in tags.items() if "sharedViewState" in name
    }

    assert {
        "cnnbench-compare-resnet50-b8",
        "cnnbench-table",
        "cnnbench-scaling",
        "cnnbench-training",
        "cnnbench-scatter",
    } <= set(saved)
    for value in saved.values():
        assert store.logged.run_id in json.loads(value["state"])["searchFilter"]
    assert store.logged.view_id == "cnnbench-compare-resnet50-b8"


def test_runs_written_as_rows_are_what_the_client_writes_one_by_one(store: Store) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store.uri)
    children = plan_runs(store.run, colours(record.cell for record in store.run.records)).children
    odd = replace(
        children[0],
        name="odd" * 100,
        failed=True,
        points=(
            MetricPoint("loss", 2.0, 0),
            MetricPoint("loss", 3.0, 1),
            MetricPoint("loss", 3.0, 1),
            MetricPoint("loss", 1.0, 1),
            MetricPoint("nan", math.nan),
            MetricPoint("inf", math.inf),
        ),
    )
    trained = replace(children[1], name="trained", datasets=("digits_a", "digits_b"))
    chosen = [odd, *children[:2], trained, children[-1]]
    written = []
    for name in ("one by one", "rows"):
        experiment = client.create_experiment(name, artifact_location="file:///artifacts")
        if name == "rows":
            write_runs(client, experiment, chosen, {"mlflow.parentRunId": "parent"})
        else:
            for child in chosen:
                _log(client, experiment, child, {"mlflow.parentRunId": "parent"})
        found = client.search_runs([experiment], order_by=["attributes.run_name", "attributes.start_time"])
        written.append([_shown(client, run) for run in found])
    assert len(written[0]) == len(chosen)
    assert written[1] == written[0]
    assert [("digits_a" in figures, "digits_b" in figures) for _, figures in written[1]].count((True, True)) == 1


def _shown(client: Any, run: Any) -> Any:
    """All of a run but its own id and its experiment's; texts, in which NaN equals NaN."""
    info = {key: value for key, value in dict(run.info).items() if key not in ("run_id", "run_uuid", "experiment_id")}
    info["artifact_uri"] = info["artifact_uri"].replace(run.info.run_id, "ID")
    history = {
        key: sorted(str((m.value, m.timestamp, m.step)) for m in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
    }
    inputs = client.get_run(run.info.run_id).inputs.dataset_inputs
    return str((sorted(info.items()), sorted(run.data.params.items()), sorted(run.data.tags.items()))), str(
        (sorted(run.data.metrics.items()), history, sorted(str(dict(item.dataset)) for item in inputs))
    )


def test_artifacts_hold_the_report(store: Store) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store.uri)
    names = {item.path for item in client.list_artifacts(store.logged.run_id)}
    assert {"report.html", "report.md", "environment.json", "summary.json"} <= names


def test_links_open_the_comparison_in_the_right_mode(store: Store) -> None:
    found = links(store.folder)

    assert found["mlflow"] == (
        f"http://127.0.0.1:5000/#/experiments/{store.logged.experiment_id}/runs?workflowType=machine_learning"
        "&compareRunsMode=CHART&viewStateShareKey=cnnbench-compare-resnet50-b8"
    )
    assert found["report"].startswith("file://")
    assert read_mark(store.folder) == store.logged
    assert newest_logged(store.folder.parent.parent) == store.logged


def test_a_report_counts_for_the_records_that_it_was_made_from(tmp_path: Path) -> None:
    """However new the file is: what is logged beside the figures must say the same."""
    run = synthetic_run(seed=1, batches=(1,))
    folder = write_run(run, tmp_path)
    assert not _reported(folder)
    write_reports(folder)
    assert _reported(folder)
    RunStore(folder).write_record(run.records[0].model_copy(update={"reason": "measured again"}))
    os.utime(folder / "report.html")
    assert not _reported(folder)


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow, which tries again for minutes, is not asked at all: what is asked first waits for PROBE_S at most."""
    asked = Mock()
    monkeypatch.setattr("mlflow.MlflowClient", asked)
    yield
    asked.assert_not_called()
    assert PROBE_S <= 5


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("place", ["sqlite:////proc/x.db", "sqlite:////proc", "http://[", "http://localhost:port"])
def test_a_store_that_cannot_be_there_is_named_at_once(place: str) -> None:
    with pytest.raises(UnavailableError, match="MLflow does not take the run"):
        prepare(place)


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("kind", ["refuses", "silent"])
def test_a_server_that_is_down_costs_seconds_and_no_record(kind: str, tmp_path: Path) -> None:
    folder = write_run(synthetic_run(seed=1, batches=(1,)), tmp_path)
    (folder / "report.html").write_text("there already")
    before = {path: path.read_bytes() for path in folder.rglob("record.json")}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "silent":  # takes connections and never answers
            listener.listen()
        with pytest.raises(UnavailableError, match="MLflow does not take the run") as caught:
            log_run(folder, f"http://user:secret@127.0.0.1:{listener.getsockname()[1]}")
    assert "report RUN --log" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert read_mark(folder) is None
    assert {path: path.read_bytes() for path in folder.rglob("record.json")} == before


def test_the_first_view_compares_the_most_backends_at_the_largest_point() -> None:
    records = synthetic_run(seed=1).records

    cell, batch = comparison_points(records)[0]
    assert (cell.architecture, batch) == ("resnet50", 8)
    assert views(records, "p")[0].id == "cnnbench-compare-resnet50-b8"


def test_networks_that_are_called_alike_are_never_in_one_comparison() -> None:
    """One architecture, seeded and with trained weights."""
    seeded = synthetic_run(seed=1, batches=(1,))
    trained = tuple(
        record.model_copy(
            update={"cell": record.cell.model_copy(update={"weights": "w.npz", "id": f"{record.cell.id}t"})}
        )
        for record in seeded.records
    )
    run = replace(seeded, records=(*seeded.records, *trained))
    planned = plan_runs(run, {})
    shown = [view for view in views(run.records, "p") if "compare" in view.id]

    assert len({view.id for view in shown}) == len({view.name for view in shown}) == len(shown)
    members = []
    for view in shown:
        network, batch = re.search(
            r"tags.`cnnbench.network` = '(\w+)' and params.`batch` = '(\d+)'", view.state["searchFilter"]
        ).groups()  # type: ignore[union-attr]
        members.append(
            [
                child.tags["cnnbench.cell"]
                for child in planned.children
                if child.kind == "point" and (child.tags["cnnbench.network"], child.params["batch"]) == (network, batch)
            ]
        )
    assert all(found and len({name.endswith("t") for name in found}) == 1 for found in members)
    timed = [record.cell.id for record in run.records if record.latency is not None]
    assert sorted(name for found in members for name in found if name in timed) == sorted(timed)


def test_a_view_too_long_for_a_tag_is_deflated_and_comes_back() -> None:
    state = {"compareRunCharts": [{"uuid": f"chart-{i}", "metricKey": "p50_ms"} for i in range(1000)]}
    name, value = tag_of(View("cnnbench-x", "x", True, state), 0)

    assert name == "mlflow.sharedViewState.cnnbench-x"
    assert len(value) <= LIMIT
    packed = json.loads(value)["state"]
    assert packed.startswith("deflate;")
    assert json.loads(zlib.decompress(b64decode(packed.removeprefix("deflate;")))) == state


def test_a_long_table_is_cut_at_a_row_in_the_note() -> None:
    run = synthetic_run(seed=1)
    many = type(run)(suite="s", run_id="r", records=run.records * 10)

    text = note(many)
    assert len(text) < 8000
    assert len(text) > NOTE_LIMIT / 2
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))
    assert "report.md" in text


def test_names_that_mlflow_would_refuse_are_made_to_fit() -> None:
    run = synthetic_run(seed=1)
    record = run.records[0].model_copy(
        update={"versions": {"a:b<c>": "1"}, "metrics": {"x$y": 1.0, "nan": float("nan")}}
    )
    point = plan_runs(type(run)(suite="s", run_id="r", records=(record,)), {}).children[0]

    assert "version.a_b_c_" in point.tags
    keys = [item.key for item in point.points]
    assert keys[0] == "p50_ms"
    assert "metrics/x_y" in keys
    assert "metrics/nan" not in keys


def test_failed_cells_are_failed_runs_and_skipped_ones_none() -> None:
    run = synthetic_run(seed=1)
    records = list(run.records)
    records[0] = records[0].model_copy(update={"status": "crashed", "latency": None})
    records[1] = records[1].model_copy(update={"status": "skipped"})
    planned = plan_runs(type(run)(suite="s", run_id="r", records=tuple(records)), {})
    points = [child for child in planned.children if child.kind == "point"]

    assert planned.parent.failed
    assert points[0].failed
    assert points[0].tags["cnnbench.status"] == "crashed"
    assert len(points) == len(records) - 1


def test_links_to_a_server_use_its_address() -> None:
    logged = Logged("http://tracking.example:8080/", "7", "r", "v", True)

    assert logged.comparison().startswith("http://tracking.example:8080/#/experiments/7/runs?")
    assert logged.report("http://127.0.0.1:5001").startswith("http://127.0.0.1:5001/#/experiments/7/runs/r/artifacts/")
