"""Writes many MLflow runs into a SQL store in a few statements: row for row what its client writes one by one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.output.recorders.mlflow_layout import MetricPoint, PlannedRun
from cnnbench.output.recorders.mlflow_training import log_datasets

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUNS = 200  # in one transaction: others may write between
Rows = dict[str, list[dict[str, Any]]]  # by table
Sanitize = Callable[[float], tuple[bool, float]]  # whether a figure is NaN, and what stands for it in the table


def takes_rows(client: MlflowClient) -> bool:
    """Whether the client writes to a SQL database itself; a server is sent each run."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return isinstance(client._tracking_client.store, SqlAlchemyStore)


def write_runs(client: MlflowClient, experiment: str, runs: Sequence[PlannedRun], tags: Mapping[str, str]) -> None:
    """Writes finished runs, a transaction for each ``RUNS`` of them.

    Args:
        client: Of a store that ``takes_rows``.
        experiment: Its id.
        runs: What is written.
        tags: Of all runs, beside their own.

    Raises:
        MlflowException: A name or a value is none that MLflow takes.
    """
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import insert

    store = client._tracking_client.store
    location = client.get_experiment(experiment).artifact_location
    tables = (models.SqlRun, models.SqlTag, models.SqlParam, models.SqlMetric, models.SqlLatestMetric)
    for start in range(0, len(runs), RUNS):
        rows: Rows = {table.__tablename__: [] for table in tables}
        for run in runs[start : start + RUNS]:
            _add(rows, run, {**run.tags, **tags}, (int(experiment), location), store.sanitize_metric_value)
        with store.ManagedSessionMaker(read_only=False) as session:
            for table in tables:
                if rows[table.__tablename__]:
                    session.execute(insert(table), rows[table.__tablename__])
        for run, row in zip(runs[start : start + RUNS], rows["runs"], strict=True):
            log_datasets(client, row["run_uuid"], run.datasets)


def _add(rows: Rows, run: PlannedRun, tags: Mapping[str, str], experiment: tuple[int, str], sanitize: Sanitize) -> None:
    """The rows of one run but for its datasets, after MLflow's own validation."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.utils.uri import append_to_uri_path
    from mlflow.utils.validation import _validate_batch_log_data

    name, run_id = run.name[:250], uuid.uuid4().hex
    all_tags = {**tags, "mlflow.runName": name}
    _validate_batch_log_data(
        [Metric(point.key, point.value, run.end_ms, point.step) for point in run.points],
        [Param(key, value) for key, value in run.params.items()],
        [RunTag(key, value) for key, value in all_tags.items()],
    )
    rows["runs"].append(
        {
            "run_uuid": run_id,
            "name": name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": tags.get("mlflow.user", "unknown"),
            "status": "FAILED" if run.failed else "FINISHED",
            "start_time": run.start_ms,
            "end_time": run.end_ms,
            "deleted_time": None,
            "source_version": "",
            "lifecycle_stage": "active",
            "artifact_uri": append_to_uri_path(experiment[1], run_id, "artifacts"),
            "experiment_id": experiment[0],
        }
    )
    rows["tags"] += [{"run_uuid": run_id, "key": key, "value": value} for key, value in all_tags.items()]
    rows["params"] += [{"run_uuid": run_id, "key": key, "value": value} for key, value in run.params.items()]
    points = dict.fromkeys(run.points)
    rows["metrics"] += [_metric(run_id, run.end_ms, point, sanitize) for point in points]
    latest: dict[str, MetricPoint] = {}
    for point in points:
        kept = latest.get(point.key)
        if kept is None or (point.step, point.value) > (kept.step, kept.value):
            latest[point.key] = point
    rows["latest_metrics"] += [_metric(run_id, run.end_ms, point, sanitize) for point in latest.values()]


def _metric(run_id: str, timestamp: int, point: MetricPoint, sanitize: Sanitize) -> dict[str, Any]:
    is_nan, value = sanitize(point.value)
    return {
        "run_uuid": run_id,
        "key": point.key,
        "value": value,
        "timestamp": timestamp,
        "step": point.step,
        "is_nan": is_nan,
    }
