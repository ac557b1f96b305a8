"""Saved views that make MLflow open on the comparison: the state of its run page, as its user interface stores it.

A view is a tag of the experiment, ``mlflow.sharedViewState.<id>``, and a link opens it by that id. This is a format
internal to the user interface of MLflow 3.17; a browser test proves that the pinned version still reads it.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.output.labels import network_labels
from cnnbench.output.recorders.mlflow_training import training_lines
from cnnbench.spec.content import content_digest

PREFIX = "mlflow.sharedViewState."
OWN = "cnnbench-"
LIMIT = 20_000  # characters of an experiment's tag
MOST_COMPARISONS = 24
RUNS_SHOWN = 100
_COLUMNS = (
    "metrics.`p50_ms`", "metrics.`p50_low_ms`", "metrics.`p50_high_ms`", "metrics.`img_per_s`",
    "metrics.`err_budget_pct`", "metrics.`peak_mb`", "metrics.`compile_s`", "metrics.`test_accuracy`",
    "params.`architecture`", "params.`batch`", "params.`backend`", "params.`mode`", "params.`precision`",
)  # fmt: skip

_ORDER = {"point": "p50_ms", "scaling": "p50_ms", "training": "train/loss"}


@dataclass(frozen=True)
class View:
    """A saved view: its id in links, its name, whether it shows charts, and the state of the page."""

    id: str
    name: str
    charts: bool
    state: Mapping[str, Any]


def views(records: Sequence[Record], parent_id: str) -> list[View]:
    """The views of one invocation; the one to open first stands first.

    Args:
        records: Of the invocation.
        parent_id: The id of its MLflow run; views show its children only.
    """
    names = network_labels(record.cell for record in records)
    found = [_comparison(cell, batch, names[cell.network_key], parent_id) for cell, batch in comparison_points(records)]
    found.append(View(f"{OWN}table", "cnnbench: table of the latest run", False, _state("point", parent_id, [])))
    timed = [record for record in records if record.latency is not None]
    if len({record.cell.batch for record in timed}) > 1:
        lines = [_line("p50_ms", log=True), _line("img_per_s", log=True)]
        state = _state("scaling", parent_id, [("Latency and throughput by batch size", lines)])
        found.append(View(f"{OWN}scaling", "cnnbench: scaling with the batch size", True, state))
    if any(record.training for record in records):
        lines = [_line(key) for key in training_lines(records)]
        state = _state("training", parent_id, [("Training", lines)])
        found.append(View(f"{OWN}training", "cnnbench: training curves", True, state))
    if timed and any(check.budget_used is not None for record in records for check in record.checks):
        state = _state("point", parent_id, [("Speed against error budget", [_scatter("img_per_s", "err_budget_pct")])])
        found.append(View(f"{OWN}scatter", "cnnbench: speed against error budget", True, state))
    return found


def comparison_points(records: Sequence[Record]) -> list[tuple[Cell, int]]:
    """(a cell of its network, batch) of every comparison: with most backends first, then those that take longest."""
    points: dict[tuple[Key, int], list[Record]] = {}
    for record in records:
        if record.latency is not None:
            points.setdefault((record.cell.network_key, record.cell.batch), []).append(record)

    def weight(found: list[Record]) -> tuple[int, float]:
        return len(found), sum(record.latency.median_s.value for record in found if record.latency)

    ordered = sorted(points.values(), key=weight, reverse=True)
    return [(found[0].cell, found[0].cell.batch) for found in ordered[:MOST_COMPARISONS]]


def network_tag(cell: Cell) -> dict[str, str]:
    """A tag that tells a cell's network apart from others that are called alike: seeded and trained, of two sizes."""
    return {"cnnbench.network": content_digest(cell.network_key)[:16]}


def _comparison(cell: Cell, batch: int, name: str, parent_id: str) -> View:
    metrics = ("p50_ms", "img_per_s", "err_budget_pct", "peak_mb", "compile_s")
    sections = [("Backends side by side", [_bar(metric) for metric in metrics])]
    wanted = "".join(f" and tags.`{name}` = '{value}'" for name, value in network_tag(cell).items())
    where = f"{wanted} and params.`batch` = '{batch}'"
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    return View(
        f"{OWN}compare-{slug}-b{batch}",
        f"cnnbench: {name}, batch {batch}",
        True,
        _state("point", parent_id, sections, where),
    )


def _state(
    kind: str, parent_id: str, sections: Sequence[tuple[str, list[dict[str, Any]]]], where: str = ""
) -> dict[str, Any]:
    charts = [
        {**chart, "uuid": f"chart-{i}-{j}", "metricSectionId": f"section-{i}", "deleted": False, "isGenerated": False}
        for i, (_, members) in enumerate(sections)
        for j, chart in enumerate(members)
    ]
    return {
        "searchFilter": f"tags.`cnnbench.kind` = '{kind}' and tags.`cnnbench.suite_id` = '{parent_id}'{where}",
        "orderByKey": f"metrics.`{_ORDER[kind]}`",  # by creation, children would hide under their parent
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "groupBy": None,
        "isAccordionReordered": True,
        "selectedColumns": list(_COLUMNS),
        "columnOrder": list(_COLUMNS),
        "columnWidths": {},
        "compareRunSections": [
            {"uuid": f"section-{i}", "name": name, "display": True, "isReordered": True, "deleted": False,
             "isGenerated": False}
            for i, (name, _) in enumerate(sections)
        ],
        "compareRunCharts": charts,
    }  # fmt: skip


def _bar(metric: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": RUNS_SHOWN}


def _line(metric: str, *, log: bool = False) -> dict[str, Any]:
    scale = "log" if log else "linear"
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "runsCountToCompare": RUNS_SHOWN,
        "xAxisKey": "step",
        "xAxisScaleType": scale,
        "scaleType": scale,
        "lineSmoothness": 0,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
    }


def _scatter(x: str, y: str) -> dict[str, Any]:
    return {
        "type": "SCATTER",
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
        "runsCountToCompare": RUNS_SHOWN,
    }


def tag_of(view: View, now_ms: int) -> tuple[str, str]:
    """The experiment tag that holds a view. A state too long for a tag is deflated."""
    state = json.dumps(view.state)
    value = {"name": view.name, "createdAt": now_ms, "updatedAt": now_ms, "state": state}
    if len(json.dumps(value)) > LIMIT:
        value["state"] = "deflate;" + base64.b64encode(zlib.compress(state.encode())).decode()
    return PREFIX + view.id, json.dumps(value)


def view_fragment(experiment_id: str, view_id: str, *, charts: bool = True) -> str:
    """The part of a link to a view after the server's address. Any further parameter would suppress the view.

    Args:
        experiment_id: Of the experiment whose tag holds the view.
        view_id: The view.
        charts: Whether it shows charts rather than a table of runs.
    """
    mode = "&compareRunsMode=CHART" if charts else ""
    key = quote(view_id, safe="")
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning{mode}&viewStateShareKey={key}"


def report_fragment(experiment_id: str, run_id: str) -> str:
    """The link to a run's report among its artifacts."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}/artifacts/report.html?workflowType=machine_learning"
