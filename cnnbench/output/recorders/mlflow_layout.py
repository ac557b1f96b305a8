"""What a run becomes in MLflow, as values: a parent run, a child for each cell, and children that hold curves."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, NamedTuple

from cnnbench.gates.evidence import Evidence
from cnnbench.harness.run.record import Latency, Record
from cnnbench.harness.suite.cell import Cell
from cnnbench.output.cautions import cautions
from cnnbench.output.figures import MEBIBYTE, rounded
from cnnbench.output.labels import label, network_label, network_name
from cnnbench.output.recorders.mlflow_training import final_scores, recipe_params, trained_on, training_points
from cnnbench.output.recorders.mlflow_views import network_tag
from cnnbench.output.run_claims import claim_tags
from cnnbench.output.tables import FORWARD, budget_used, checks_by_program, result_table
from cnnbench.output.text import escape_markdown, to_markdown

Kind = Literal["suite", "point", "scaling", "training"]
NOTE_LIMIT = 7_500  # MLflow keeps 8,000 characters of a tag


class MetricPoint(NamedTuple):
    """A logged figure."""

    key: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class PlannedRun:
    """An MLflow run before it exists. ``failed`` runs are marked as such. Times are milliseconds since 1970.

    ``datasets``: the names of those that it trained on.
    """

    name: str
    kind: Kind
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: tuple[MetricPoint, ...]
    start_ms: int
    end_ms: int
    failed: bool = False
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """All runs of an invocation."""

    parent: PlannedRun
    children: tuple[PlannedRun, ...] = field(default=())


def plan_runs(run: Evidence, colours: Mapping[str, str]) -> Planned:
    """The runs that a finished invocation becomes. Skipped cells stay in the parent's note."""
    shown = [record for record in run.records if record.status != "skipped"]
    starts = [_ms(record.started_utc) for record in shown] or [0]
    ends = [_ms(record.finished_utc) for record in shown] or [0]
    checks = checks_by_program(run.records)
    parent = PlannedRun(
        name=run.run_id,
        kind="suite",
        params={"suite": run.suite, "cells": str(len(run.records))},
        tags={
            "mlflow.note.content": note(run),
            "cnnbench.kind": "suite",
            "cnnbench.run": run.run_id,
            "cnnbench.fingerprint": run.fingerprint,
            **_source(run),
            **claim_tags(run),
        },
        points=tuple(_geometric_means(shown))
        + tuple(MetricPoint(_key(k), rounded(v)) for k, v in run.yardsticks.items()),
        start_ms=min(starts),
        end_ms=max(ends),
        failed=any(record.exit_code for record in shown),
    )
    children: list[PlannedRun] = []
    for record in shown:
        used = budget_used(checks.get(record.cell.program_key, ()), FORWARD)
        children.append(_point(run, record, used, colours))
    children += _scaling(run, shown, colours)
    children += [_training(run, record, colours) for record in shown if record.training is not None]
    return Planned(parent, tuple(children))


def note(run: Evidence) -> str:
    """Reasons to doubt it, then the result table in Markdown, cut at a row where MLflow would cut it anywhere."""
    doubts = "".join(f"**Caution:** {escape_markdown(sentence)}\n\n" for sentence in cautions(run.records))
    text = f"### {run.suite}, {run.run_id}\n\n{doubts}" + to_markdown(result_table(run.records))
    if len(text) <= NOTE_LIMIT:
        return text
    kept = text[:NOTE_LIMIT].rpartition("\n")[0]
    return f"{kept}\n\n… the whole table is in the artifact report.md"


def _point(run: Evidence, record: Record, used: float | None, colours: Mapping[str, str]) -> PlannedRun:
    cell = record.cell
    tags = {
        **_common(run, cell, colours),
        "cnnbench.kind": "point",
        "cnnbench.status": record.status,
        "cnnbench.cell": cell.id,
        "cnnbench.key": cell.key,
        **{f"version.{_key(name)}": version for name, version in record.versions.items()},
    }
    if reason := record.reason or record.inconclusive:
        tags["cnnbench.reason"] = reason[:NOTE_LIMIT]
    return PlannedRun(
        name=f"{label(cell)} {network_label(cell)} b{cell.batch}",  # legends cut the end
        kind="point",
        params={**recipe_params(run, cell), **_params(cell), "batch": str(cell.batch)},
        tags=tags,
        points=tuple(_figures(record, used)),
        start_ms=_ms(record.started_utc),
        end_ms=_ms(record.finished_utc),
        failed=bool(record.exit_code),
    )


def _figures(record: Record, used: float | None) -> Iterator[MetricPoint]:
    """The headline first; four significant digits, for the table does not round."""
    values: dict[str, float | None] = {**(_speed(record.latency) if record.latency else {})}
    if record.memory is not None:
        values["peak_mb"] = (record.memory.device_peak_bytes or record.memory.peak_bytes) / MEBIBYTE
    values["compile_s"] = record.phases.compile_s
    values["err_budget_pct"] = None if used is None else 100 * used
    values["test_accuracy"] = record.training.test_accuracy if record.training else None
    values |= final_scores(record.training) if record.training else {}
    if latency := record.latency:
        values["latency/p90_ms"], values["latency/p99_ms"] = latency.p90_s.value * 1e3, latency.p99_s.value * 1e3
    for check in record.checks:
        values[f"budget/{check.name}_pct"] = None if check.budget_used is None else 100 * check.budget_used
    values |= {f"metrics/{_key(name)}": value for name, value in record.metrics.items()}
    for name, value in values.items():
        if value is not None and math.isfinite(value):
            yield MetricPoint(name, rounded(value))


def _speed(latency: Latency) -> dict[str, float]:
    """The median, its interval where there is one, and the throughput."""
    median = latency.median_s
    interval = {"p50_low_ms": median.low * 1e3, "p50_high_ms": median.high * 1e3} if median.confidence else {}
    return {"p50_ms": median.value * 1e3, **interval, "img_per_s": latency.throughput_images_per_s.value}


def _scaling(run: Evidence, records: list[Record], colours: Mapping[str, str]) -> list[PlannedRun]:
    """A run for each network and backend that was timed at several batch sizes; the step is the batch."""
    curves: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        if record.latency is not None:
            curves.setdefault(record.cell.program_key, []).append(record)
    planned = []
    for members in curves.values():
        if len({record.cell.batch for record in members}) < 2:
            continue
        points = []
        for record in sorted(members, key=lambda record: record.cell.batch):
            assert record.latency is not None
            speed = _speed(record.latency)
            points += [MetricPoint(key, rounded(value), record.cell.batch) for key, value in speed.items()]
        planned.append(_curve(run, members[0], "scaling", points, colours))
    return planned


def _training(run: Evidence, record: Record, colours: Mapping[str, str]) -> PlannedRun:
    """The loss of each step, and what was reached on the test images after each epoch."""
    training = record.training
    assert training is not None
    points = [MetricPoint(name, rounded(value), step) for name, value, step in training_points(training)]
    return replace(_curve(run, record, "training", points, colours), datasets=trained_on(run, record.cell))


def _curve(
    run: Evidence,
    record: Record,
    kind: Literal["scaling", "training"],
    points: list[MetricPoint],
    colours: Mapping[str, str],
) -> PlannedRun:
    cell = record.cell
    return PlannedRun(
        name=f"{label(cell)} {network_label(cell)} {kind}",
        kind=kind,
        params={**recipe_params(run, cell), **_params(cell)},
        tags={**_common(run, cell, colours), "cnnbench.kind": kind},
        points=tuple(points),
        start_ms=_ms(record.started_utc),
        end_ms=_ms(record.finished_utc),
    )


def _params(cell: Cell) -> dict[str, str]:
    return {
        "architecture": network_name(cell),
        "backend": cell.backend,
        "mode": cell.mode,
        "precision": cell.precision,
        "image": "x".join(map(str, cell.image)),
        "threads": "all" if cell.threads is None else str(cell.threads),
        "point": f"{label(cell)}{'' if cell.recipe is None else f' {cell.recipe}'} b{cell.batch}",
    }


def _common(run: Evidence, cell: Cell, colours: Mapping[str, str]) -> dict[str, str]:
    tags = {"cnnbench.run": run.run_id, "cnnbench.side": cell.side, **network_tag(cell), **_source(run)}
    tags |= {} if cell.recipe_digest is None else {"cnnbench.recipe": cell.recipe_digest}
    if cell.series in colours:
        tags["mlflow.runColor"] = colours[cell.series]
    return tags


def _source(run: Evidence) -> dict[str, str]:
    """Who ran it, and from which commit; the client adds none of it."""
    import getpass

    tags = {"mlflow.source.name": "cnnbench", "mlflow.source.type": "LOCAL"}
    with suppress(KeyError, OSError):  # a user id without a name, as in some containers
        tags["mlflow.user"] = getpass.getuser()
    git = run.environment.get("git")
    if isinstance(git, Mapping) and git.get("commit"):
        tags["mlflow.source.git.commit"] = str(git["commit"])
    return tags


def _geometric_means(records: list[Record]) -> Iterator[MetricPoint]:
    """The geometric mean of the median latencies of each series over the points that all timed series share."""
    series: dict[str, dict[tuple[object, ...], float]] = {}
    for record in records:
        if record.latency is not None:
            where = (record.cell.comparison_group, record.cell.side)
            series.setdefault(label(record.cell), {})[where] = record.latency.median_s.value * 1e3
    if not series:
        return
    shared = set.intersection(*(set(points) for points in series.values()))
    for name, points in series.items():
        if shared:
            mean = math.exp(sum(math.log(points[where]) for where in shared) / len(shared))
            yield MetricPoint(f"geomean_p50_ms/{_key(name)}", rounded(mean))


def _key(name: str) -> str:
    """A name as MLflow admits it in keys."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _ms(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0
