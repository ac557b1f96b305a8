"""``cnnbench report``: writes a run's reports again, and sends its records where recorders put them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json


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
    """Write a run's reports again from its records; ends with 5 where some are missing."""
    from cnnbench.face.recording import log as log_run
    from cnnbench.gates.evidence import read_evidence
    from cnnbench.harness.run.exit_codes import INCONCLUSIVE
    from cnnbench.harness.run.files import check_folder_writable
    from cnnbench.output.reports import write_reports

    folder = run.folder
    check_folder_writable(folder)
    if publish is not None:
        check_folder_writable(publish, "--publish")
    files = write_reports(folder)
    if publish is not None:
        from cnnbench.output.published import publish as write_page

        files |= write_page(folder, publish)
    links: dict[str, str] = {}
    if log:
        links = log_run(folder, o.recorders(mlflow=True, tracking_uri=tracking_uri))
    missing = read_evidence(folder).missing
    if shown.json:
        written = {name: str(path) for name, path in files.items()}
        print_json({"folder": str(folder), "files": written, "links": links, "missing": missing})
    else:
        for path in files.values():
            echo(path)
        for label, link in links.items():
            echo(f"{label}: {link}")
    if missing:
        echo(f"note: the run is not complete: it has no {', no '.join(missing)}", err=True)
        raise typer.Exit(INCONCLUSIVE)
