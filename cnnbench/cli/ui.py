"""``cnnbench ui``: MLflow's own pages over this project's store, opened at the comparison."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo


@grouped
def ui(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Whose comparison is opened: the newest logged run's.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The next free one where it is taken.")] = 5000,
    tracking_uri: Annotated[str | None, typer.Option(metavar="URI", help="Instead of mlflow.db here.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only serve and print the links.")] = False,
    runs: o.Root = o.RUNS,
    verbose: o.Verbose = False,
) -> None:
    """Serve MLflow on 127.0.0.1 and open the comparison; Ctrl-C ends it."""
    from cnnbench.errors import DataError
    from cnnbench.harness.run.lookup import find_run
    from cnnbench.output.mlflow_ui import newest_logged, serve
    from cnnbench.output.recorders.mlflow import read_mark

    if run is None:
        logged = newest_logged(runs)
    else:
        folder = find_run(run, runs)
        logged = read_mark(folder)
        if logged is None:
            remedy = f"log it: cnnbench report {folder} --log"
            raise DataError("the run was not logged to MLflow", where=str(folder), remedy=remedy)
    serve(uri=tracking_uri, port=port, logged=logged, tell=echo, browser=not no_browser)
