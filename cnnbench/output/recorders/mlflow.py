"""Sends a run from the records on disk to MLflow: in batches, with a short patience, as often as it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.addresses import shown_address
from cnnbench.errors import DataError
from cnnbench.measurement.clock import utc_ms
from cnnbench.output.recorders.mlflow_layout import Planned, PlannedRun, plan_runs
from cnnbench.output.recorders.mlflow_rows import takes_rows, write_runs
from cnnbench.output.recorders.mlflow_store import connected, database, prepare, tracking_uri
from cnnbench.output.recorders.mlflow_views import (
    OWN,
    PREFIX,
    View,
    report_fragment,
    tag_of,
    view_fragment,
    views,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from cnnbench.harness.run.extensions import FinishedRun, StartedRun
    from cnnbench.harness.run.record import Record

LOCAL_SERVER = "http://127.0.0.1:5000"
MARK = "mlflow.json"  # in the run's folder: where it was logged
ARTIFACTS = ("report.html", "report.md", "environment.json", "summary.json", "junit.xml", "suite.resolved.yaml")
BATCH = 1000  # metrics that MLflow takes in one request


@dataclass(frozen=True)
class Logged:
    """Where a run was logged. ``tracking_uri`` carries no credentials."""

    tracking_uri: str
    experiment_id: str
    run_id: str
    view_id: str
    view_is_chart: bool

    @property
    def server(self) -> str:
        """The address that links start with: the server's, or where ``cnnbench ui`` serves a local store."""
        return self.tracking_uri.rstrip("/") if self.tracking_uri.startswith("http") else LOCAL_SERVER

    def is_in(self, uri: str) -> bool:
        """Whether ``uri`` names the store that the run was logged to."""
        return shown_address(tracking_uri(uri)).rstrip("/") == shown_address(tracking_uri(self.tracking_uri)).rstrip(
            "/"
        )

    def comparison(self, server: str | None = None) -> str:
        """The link to the comparison."""
        return (server or self.server) + view_fragment(self.experiment_id, self.view_id, charts=self.view_is_chart)

    def report(self, server: str | None = None) -> str:
        """The link to the report among the run's artifacts."""
        return (server or self.server) + report_fragment(self.experiment_id, self.run_id)


class MlflowRecorder:
    """Logs a run when it has finished. ``tracking_uri``: None for ``$MLFLOW_TRACKING_URI`` or ``mlflow.db`` here."""

    def __init__(self, tracking_uri: str | None = None) -> None:
        self._uri = tracking_uri

    def started(self, run: StartedRun) -> None:
        """Creates the store, or finds out that the server does not answer, before anything is measured."""
        prepare(self._uri)

    def recorded(self, record: Record, folder: Path) -> None:
        """Nothing yet: the folder holds it."""

    def finished(self, run: FinishedRun) -> Mapping[str, str]:
        log_run(run.folder, self._uri)
        return {name: link for name, link in links(run.folder).items() if name == "mlflow"}


def log_run(folder: Path, given: str | None = None) -> Logged:
    """Logs a run from its folder, replacing what an earlier attempt logged of it.

    Raises:
        UnavailableError: The store does not answer; the records are where they were.
    """
    from cnnbench.gates.evidence import read_evidence
    from cnnbench.output.palette import colours
    from cnnbench.output.reports import write_reports

    run = read_evidence(folder)
    if not run.records:
        raise DataError("the run has no record to log", where=str(folder))
    if not _reported(folder):
        write_reports(folder)
    planned = plan_runs(run, colours(record.cell for record in run.records))
    with connected(given) as client:
        experiment = experiment_id(client, run.suite, tracking_uri(given))
        _forget(client, experiment, run.run_id)
        parent = _send(client, experiment, planned, folder)
        shown = views(run.records, parent)
        _save_views(client, experiment, shown, run.suite)
    logged = Logged(shown_address(tracking_uri(given)), experiment, parent, shown[0].id, shown[0].charts)
    from cnnbench.harness.run.files import write_atomically

    write_atomically(folder / MARK, json.dumps(asdict(logged), indent=1) + "\n")
    return logged


def _reported(folder: Path) -> bool:
    """Whether there is a report, made from the records as they are."""
    from cnnbench.harness.run.store import RunStore
    from cnnbench.output.html import RECORDS

    report = folder / "report.html"
    made_from = f'<meta name="{RECORDS}" content="{RunStore(folder).digest}">'
    return report.exists() and made_from in report.read_text(encoding="utf-8", errors="replace")[:2000]


def read_mark(folder: Path) -> Logged | None:
    """Where a run was logged, or None where it was not."""
    try:
        return Logged(**json.loads((folder / MARK).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def links(folder: Path) -> dict[str, str]:
    """What to open of a run: ``mlflow`` (the comparison, where it was logged) and ``report`` (the file)."""
    found = {}
    logged = read_mark(folder)
    if logged is not None:
        found["mlflow"] = logged.comparison()
    if (folder / "report.html").exists():
        found["report"] = (folder / "report.html").resolve().as_uri()
    return found


def experiment_id(client: MlflowClient, suite: str, uri: str) -> str:
    """The id of ``cnnbench/<suite>``, created where there is none; one that was deleted is restored.

    Args:
        client: Of the store.
        suite: The suite's name, or what else is logged.
        uri: The store's, beside whose file artifacts lie.
    """
    name = f"cnnbench/{suite}"
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)
    location = None
    file = database(uri)
    if file is not None:
        location = (file.resolve().parent / "mlartifacts" / "cnnbench" / suite).as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def _forget(client: MlflowClient, experiment: str, run: str) -> None:
    """Deletes what an earlier attempt logged of the same run."""
    for old in _all_runs(client, experiment, f"tags.`cnnbench.run` = '{run}'"):
        client.delete_run(old.info.run_id)


def _all_runs(client: MlflowClient, experiment: str, where: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], where, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _send(client: MlflowClient, experiment: str, planned: Planned, folder: Path) -> str:
    """The parent, its artifacts, then every child; the id of the parent."""
    from cnnbench.harness.run.claim_records import FOLDER as CLAIMS
    from cnnbench.output.pictures import FOLDER

    parent = _log(client, experiment, planned.parent, {})
    for name in ARTIFACTS:
        if (folder / name).exists():
            client.log_artifact(parent, str(folder / name))
    for path in sorted((folder / FOLDER).glob("*.png")):
        client.log_artifact(parent, str(path), FOLDER)
    if (folder / CLAIMS).is_dir():
        client.log_artifacts(parent, str(folder / CLAIMS), CLAIMS)
    belonging = {"mlflow.parentRunId": parent, "cnnbench.suite_id": parent}
    if takes_rows(client):
        write_runs(client, experiment, planned.children, belonging)
        return parent
    for child in planned.children:
        _log(client, experiment, child, belonging)
    return parent


def _log(client: MlflowClient, experiment: str, run: PlannedRun, tags: Mapping[str, str]) -> str:
    from mlflow.entities import Metric, Param

    from cnnbench.output.recorders.mlflow_training import log_datasets

    created = client.create_run(experiment, start_time=run.start_ms, tags={**run.tags, **tags}, run_name=run.name[:250])
    run_id = str(created.info.run_id)
    metrics = [Metric(point.key, point.value, run.end_ms, point.step) for point in run.points]
    params = [Param(key, value) for key, value in run.params.items()]
    for start in range(0, max(len(metrics), 1), BATCH - len(params)):
        client.log_batch(
            run_id, metrics=metrics[start : start + BATCH - len(params)], params=params if not start else ()
        )
    log_datasets(client, run_id, run.datasets)
    client.set_terminated(run_id, "FAILED" if run.failed else "FINISHED", run.end_ms)
    return run_id


def _save_views(client: MlflowClient, experiment: str, shown: Sequence[View], suite: str) -> None:
    """Stores the views under fixed ids, so that they show the latest run, and removes those that have no use now."""
    now = utc_ms()
    tags = dict(tag_of(view, now) for view in shown)
    known = client.get_experiment(experiment).tags
    for name in known:
        if name.startswith(PREFIX + OWN) and name not in tags:
            client.delete_experiment_tag(experiment, name)
    lines = [f"* [{view.name.removeprefix('cnnbench: ')}]({view_fragment(experiment, view.id, charts=view.charts)[1:]})"
             for view in shown]  # fmt: skip
    tags["mlflow.note.content"] = f"Runs of the cnnbench suite **{suite}**. Of the latest run:\n\n" + "\n".join(lines)
    for name, value in tags.items():
        client.set_experiment_tag(experiment, name, value)
