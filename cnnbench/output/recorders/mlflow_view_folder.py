"""Sends views to MLflow: one run of the experiment ``cnnbench/views``, with pictures, arrays and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.output.recorders.mlflow import experiment_id
from cnnbench.output.recorders.mlflow_store import connected, tracking_uri

if TYPE_CHECKING:
    from cnnbench.views.finding import ViewFinding

EXPERIMENT = "views"


def log_views(uri: str, network: str, files: Sequence[Path], findings: Sequence[ViewFinding]) -> str:
    """Logs views as one run; its id.

    Args:
        uri: The store or server.
        network: The run's name.
        files: Its artifacts.
        findings: Whose shares of the budget and whose figures become metrics.

    Raises:
        UnavailableError: The store does not answer.
    """
    with connected(uri) as client:
        experiment = experiment_id(client, EXPERIMENT, tracking_uri(uri))
        run: str = client.create_run(experiment, run_name=network, tags={"network": network}).info.run_id
        for found in findings:
            stem = f"{found.view.name}/{found.backend.replace(' ', '_')}"
            figures = {f"used/{name}": share for name, share in found.used.items()}
            figures |= {f"in_box/{name}": mass for name, mass in found.in_box.items()} | dict(found.result.figures)
            for name, value in figures.items():
                if math.isfinite(value):
                    client.log_metric(run, f"{stem}/{name}", value)
        for path in files:
            client.log_artifact(run, str(path))
        client.set_terminated(run)
    return run
