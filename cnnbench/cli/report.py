"""``cnnbench report``: writes a run's reports again, and sends its records where recorders put them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import print_json, stdout_reserved


@grouped
def report(
    run: o.FoundRun,
    log: Annotated[bool, typer.Option("--log", help="Send the records to MLflow and other recorders too.")] = False,
    tracking_uri: o.TrackingUri = None,
    publish: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write SUITE.md with charts there: one row a network.")
    ] = None,
    *,
    shown: o.Shown,
) -> None:
    """Write a run's reports again from its records."""
    from cnnbench.output.reports import write_reports

    folder = run.folder
    files = write_reports(folder)
    if publish is not None:
        from cnnbench.output.published import publish as write_page

        files |= write_page(folder, publish)
    links: dict[str, str] = {}
    if log:
        with stdout_reserved():
            links = _log(folder, tracking_uri)
    if shown.json:
        print_json({"folder": str(folder), "files": {k: str(v) for k, v in files.items()}, "links": links})
        return
    for path in files.values():
        typer.echo(path)
    for label, link in links.items():
        typer.echo(f"{label}: {link}")


def _log(folder: Path, tracking_uri: str | None) -> dict[str, str]:
    """Plays a run's records to every recorder; an error of one ends the command, for logging is what was asked for."""
    from cnnbench.harness.run.extensions import FinishedRun, StartedRun
    from cnnbench.harness.run.store import RunStore

    store = RunStore.open(folder)
    plan, environment, records = store.read_plan(), store.read_environment(), store.records()
    summary = store.read_summary()
    links: dict[str, str] = {}
    for recorder in o.recorders(mlflow=True, tracking_uri=tracking_uri).values():
        recorder.started(StartedRun(store.id, folder, plan, environment))
        for name, record in records.items():
            recorder.recorded(record, store.cell_folder(name))
        finished = FinishedRun(store.id, folder, plan, environment, tuple(records.values()), summary)
        links |= recorder.finished(finished) or {}
    store.write_summary(summary.model_copy(update={"links": {**summary.links, **links}}))
    return links
