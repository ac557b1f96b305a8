"""What runs found as tidy pandas frames: one row a cell, a timed call, a check, a node, a verdict, a cell and run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.harness.run.lookup import RunLike, find_run
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore, runs
from cnnbench.measurement.environment import fingerprint
from cnnbench.output.frame_columns import AGREEMENTS, CHECKS, FIGURE, NODES, RESULTS, SAMPLES, TIME, VERDICTS

if TYPE_CHECKING:
    from pandas import DataFrame

    from cnnbench.gates.agreement import Agreement
    from cnnbench.gates.verdicts import GateResult
    from cnnbench.harness.run.record import Interval, Record
    from cnnbench.harness.suite.cell import Cell
    from cnnbench.numerics.outcome import NodeUse

    Row = dict[str, Any]


def results(run: RunLike, root: Path | str = DEFAULT_ROOT) -> DataFrame:
    """A run's cells, one row each, in the order of its plan: settings, status, latency, memory, phases, accuracy.

    A cell that the plan has and no record can be read of has the status ``not run``. Figures of plugins
    (``cnnbench_metrics``) are further columns, by their names.

    Args:
        run: The run.
        root: Where runs' folders lie.

    Returns:
        The columns of ``RESULTS``. ``latency_low_s`` and ``latency_high_s`` are the ends of the median's confidence
        interval; ``budget_used`` is the largest fraction of an error budget over the checks.

    Raises:
        SuiteError: There is no such run.
    """
    rows = list(_result_rows(RunStore.open(find_run(run, root))))
    return frame_of(rows, RESULTS | _figures(rows))


def samples(run: RunLike, root: Path | str = DEFAULT_ROOT) -> DataFrame:
    """A run's timed calls, one row each, tagged with the launch of the worker and the round that they belong to.

    Args and Raises as ``results``; DataError where a file of samples is damaged.
    """
    store = RunStore.open(find_run(run, root))
    rows = (
        {**_cell(store, record.cell), **sample.model_dump()}
        for record in store.records().values()
        for sample in store.read_samples(record.cell.id)
    )
    return frame_of(rows, SAMPLES)


def checks(run: RunLike, root: Path | str = DEFAULT_ROOT) -> DataFrame:
    """A run's numerical checks, one row each. Args and Raises as ``results``.

    ``budget_used`` is a fraction of the error budget: a value above 1 is a failure. ``node`` is where it is largest.
    """
    store = RunStore.open(find_run(run, root))
    rows = (_check(store, record.cell, outcome) for record in store.records().values() for outcome in record.checks)
    return frame_of(rows, CHECKS)


def node_budgets(run: RunLike, root: Path | str = DEFAULT_ROOT) -> DataFrame:
    """The use of the local error budget, one row for each node and quantity of each cell. Args as ``results``.

    ``got`` and ``expected`` are the two values at ``worst_index``, where the largest fraction of the budget is used.
    """
    store = RunStore.open(find_run(run, root))
    rows = (
        _cell(store, record.cell) | node_row(use)
        for record in store.records().values()
        for use in store.read_numerics(record.cell.id)
    )
    return frame_of(rows, NODES)


def history(suite: str | Path, root: Path | str = DEFAULT_ROOT) -> DataFrame:
    """Every run of a suite, one row for each cell and run, the oldest run first: the columns of ``results``.

    Latencies compare within one ``machine`` (a fingerprint of its processor, memory and system).

    Args:
        suite: Its name, or its file.
        root: Where runs' folders lie.

    Raises:
        SuiteError: The suite has no run here.
    """
    folders = runs(root, _suite_name(suite))
    if not folders:
        known = sorted({folder.parent.name for folder in runs(root)})
        remedy = did_you_mean(str(suite), known) if known else "cnnbench run SUITE"
        raise SuiteError("the suite has no run here", where=str(root), received=str(suite), remedy=remedy)
    rows = [row for folder in folders for row in _result_rows(RunStore.open(folder))]
    return frame_of(rows, RESULTS | _figures(rows))


def verdicts(gate: GateResult) -> DataFrame:
    """The verdicts of a gate, one row for each metric of each cell.

    ``change`` is head / base where ``scale`` is ``ratio``, head - base where it is ``difference``; with the ends of
    its confidence interval, and what is tolerated (``threshold``) on the same scale.
    """
    rows = (
        {
            **item.model_dump(include=VERDICTS.keys() - {"change"}),
            "cell": item.subject,
            "network": item.architecture,
            "base": item.baseline,
            **_interval("change", "change_low", "change_high", item.change),
        }
        for item in gate.verdicts
    )
    return frame_of(rows, VERDICTS)


def agreements(run: RunLike, root: Path | str = DEFAULT_ROOT) -> DataFrame:
    """Whether backends agree on the test images, one row for each metric of each network that several trained.

    ``p_value`` is that of ``test`` of all backends being alike on every image; ``difference`` is the highest figure
    less the lowest, its interval with 95 % confidence for all pairs together. Args and Raises as ``results``.
    """
    from cnnbench.gates.agreement import agreements as found

    records = tuple(RunStore.open(find_run(run, root)).records().values())
    return frame_of((_agreement(item) for item in found(records)), AGREEMENTS)


def _agreement(item: Agreement) -> Row:
    row: Row = {
        name: getattr(item, name) for name in ("network", "recipe", "metric", "p_value", "test", "verdict", "reason")
    }
    row |= {"backends": len(item.backends), "missing": ", ".join(item.missing), "images": item.images}
    if item.figures:
        for name, at in (("lowest", item.low), ("highest", item.high)):
            row |= {name: item.backends[at], f"{name}_value": item.figures[at]}
    return row | _interval("difference", "difference_low", "difference_high", item.difference)


def node_row(use: NodeUse) -> dict[str, Any]:
    """A node's use of a budget, as frames have it."""
    return {
        **use.model_dump(include={"node", "kind", "worst_case_used", "budget", "got", "expected"}),
        "quantity": use.quantity.text,
        "budget_used": use.sharp_used,
        "worst_index": ", ".join(map(str, use.worst_index)),
    }


def frame_of(rows: Iterable[Row], columns: Mapping[str, str]) -> DataFrame:
    """The rows with every column in its order and type; empty where there is no row."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns))
    for name, dtype in columns.items():
        if dtype == TIME:
            frame[name] = pd.to_datetime(frame[name], utc=True).astype(dtype)
        else:
            frame[name] = frame[name].astype(dtype)
    return frame


def _result_rows(store: RunStore) -> Iterator[Row]:
    """A row for each cell of a run's plan, or for each record where the run has no plan."""
    environment = store.read_environment()
    machine = fingerprint(environment) if environment else None
    records = store.records()
    planned = store.read_plan().cells if (store.folder / "plan.json").exists() else ()
    cells = {cell.id: cell for cell in (*planned, *(record.cell for record in records.values()))}
    for name, cell in cells.items():
        base = {**_cell(store, cell), **_settings(cell), "machine": machine}
        yield base | (_found(records[name]) if name in records else {"status": "not run"})


def _cell(store: RunStore, cell: Cell) -> Row:
    """What names a cell in every frame."""
    return {
        "run": store.id,
        "cell": cell.id,
        "network": cell.network or cell.architecture,
        "recipe": cell.recipe,
        **{name: getattr(cell, name) for name in ("backend", "mode", "batch", "precision", "side")},
    }


def _settings(cell: Cell) -> Row:
    names = ("layout", "device", "threads", "data", "seed", "fold_batch_norm", "key", "group")
    return {name: getattr(cell, name) for name in names} | {"image": "x".join(map(str, cell.image))}


def _found(record: Record) -> Row:
    """What was found of a cell; what was not measured is missing."""
    used = [outcome.budget_used for outcome in record.checks if outcome.budget_used is not None]
    row: Row = {
        "status": record.status,
        "reason": record.reason or record.inconclusive,
        "budget_used": max(used, default=None),
        "failed_checks": sum(outcome.status == "failed" for outcome in record.checks) if record.checks else None,
        "backend_version": record.versions.get(record.cell.backend),
        "started_utc": record.started_utc,
        **record.phases.model_dump(exclude={"warmup_calls"}),
        **record.metrics,
    }
    if (latency := record.latency) is not None:
        row |= _interval("latency_median_s", "latency_low_s", "latency_high_s", latency.median_s)
        row |= {name: getattr(latency, name) for name in ("samples", "launches", "steady")}
        row["latency_covers"] = latency.covers
        row["latency_p90_s"], row["latency_p99_s"] = latency.p90_s.value, latency.p99_s.value
        row["throughput_images_per_s"] = latency.throughput_images_per_s.value
    if (memory := record.memory) is not None:
        row |= {"peak_memory_bytes": memory.peak_bytes, "peak_device_memory_bytes": memory.device_peak_bytes}
    if record.training is not None:
        row["test_accuracy"] = record.training.test_accuracy
        row["training_images_per_s"] = record.training.images_per_s
        row["training_data_share"] = record.training.data_share
        row["training_memory_bytes"] = record.training.memory_bytes
        if (target := record.training.target) is not None:
            row |= target.model_dump(include={"epochs_to_target", "time_to_target_s"}) | {"target": target.value}
        for score in record.training.metrics:
            name = f"test_{score.metric}"
            row |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    return row


def _check(store: RunStore, cell: Cell, outcome: Any) -> Row:
    names = ("status", "budget_used", "worst_case_used", "node", "message", "reproducer")
    return {**_cell(store, cell), "check": outcome.name, **{name: getattr(outcome, name) for name in names}}


def _interval(value: str, low: str, high: str, interval: Interval | None) -> Row:
    return {} if interval is None else {value: interval.value, low: interval.low, high: interval.high}


def _figures(rows: Iterable[Row]) -> dict[str, str]:
    """The columns of plugins' metrics, in the order in which they first come."""
    return {name: FIGURE for row in rows for name in row if name not in RESULTS}


def _suite_name(suite: str | Path) -> str:
    """A suite's name; that which its file states, where a file is meant."""
    if not str(suite).lower().endswith((".yaml", ".yml")):
        return str(suite)
    from cnnbench.harness.suite.file import load_suite
    from cnnbench.harness.suite.shipped import suite_file

    return load_suite(suite_file(suite)).name
