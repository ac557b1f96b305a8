"""``cnnbench ui``: MLflow's own pages over this project's store, opened at the comparison."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cnnbench.addresses import TRACKING
from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo


@grouped
def ui(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Whose comparison is opened: the newest logged run's.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The next free one where it is taken.")] = 5000,
    tracking_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="Instead of the store that the run was logged to.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only serve and print the links.")] = False,
    runs: o.Root = o.RUNS,
    verbose: o.Verbose = False,
) -> None:
    """Serve MLflow on 127.0.0.1 and open the comparison; Ctrl-C ends it."""
    from cnnbench.errors import DataError, SuiteError
    from cnnbench.harness.run.lookup import find_run
    from cnnbench.output.mlflow_ui import newest_logged, serve
    from cnnbench.output.recorders.mlflow import read_mark

    asked = tracking_uri or os.environ.get(TRACKING) or None
    if run is None:
        logged = newest_logged(runs, asked)
    else:
        folder = find_run(run, runs)
        logged = read_mark(folder)
        if logged is None:
            remedy = f"log it: cnnbench report {folder} --log"
            raise DataError("the run was not logged to MLflow", where=str(folder), remedy=remedy)
        if tracking_uri is None:
            asked = asked if asked and logged.is_in(asked) else None  # with its password, where it is the run's store
        elif not logged.is_in(tracking_uri):
            raise SuiteError(
                "the run was logged to another store",
                where="--tracking-uri",
                received=tracking_uri,
                expected=logged.tracking_uri,
            )
    serve(uri=asked, port=port, logged=logged, tell=echo, browser=not no_browser)
