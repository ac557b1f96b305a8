"""A run's hooks: recorders, metrics and the calls at its start and end, none of which can cost a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

from cnnbench import registry
from cnnbench.harness.run.extensions import FinishedRun, Metric, Recorder, StartedRun
from cnnbench.harness.run.record import Record
from cnnbench.registry import Note

METHODS = ("started", "recorded", "finished")


def offered_recorders(note: Note = registry.warn) -> dict[str, Recorder]:
    """Every plugin's recorders by name; of two with one name, the one registered last."""

    def checked(given: Any) -> dict[str, Recorder]:
        for name, recorder in dict(given).items():
            if not isinstance(name, str) or not all(callable(getattr(recorder, method, None)) for method in METHODS):
                raise TypeError(f"{recorder!r:.80} is no Recorder")
        return dict(given)

    found: dict[str, Recorder] = {}
    for implementation in registry.implementations("cnnbench_recorders"):
        found |= implementation.call(checked, note=note) or {}
    return found


def offered_metrics(note: Note = registry.warn) -> dict[str, Metric]:
    """Every plugin's metrics by name."""
    return registry.offered("cnnbench_metrics", Metric, note)


class RunHooks:
    """Calls what plugins gave for a run. Whoever raises, or gives the wrong type, is named and left out of the rest.

    Args:
        recorders: By name.
        note: Takes a sentence for the run's summary.
    """

    def __init__(self, recorders: Mapping[str, Recorder], note: Note) -> None:
        self._note = note
        self._recorders = dict(recorders)
        self._metrics: dict[str, Metric] = {}

    def started(self, run: StartedRun) -> None:
        """Before the first cell."""
        for name, reason in registry.broken_plugins().items():
            self._note(f"plugin {name!r} is broken and left out: {reason}")
        self._metrics = offered_metrics(self._note)
        self._each_recorder(lambda recorder: recorder.started(run))
        self._call("cnnbench_run_started", run)

    def recorded(self, record: Record, folder: Path) -> None:
        """After a cell's record is on disk."""
        self._each_recorder(lambda recorder: recorder.recorded(record, folder))

    def finished(self, run: FinishedRun) -> dict[str, str]:
        """After the last cell. Returns the recorders' links by label."""
        links: dict[str, str] = {}
        self._each_recorder(lambda recorder: links.update(_links(recorder.finished(run))))
        self._call("cnnbench_run_finished", run)
        return links

    def with_metrics(self, record: Record) -> Record:
        """The record with the figures that plugins derive from it."""
        figures: dict[str, float] = {}
        for name, metric in list(self._metrics.items()):
            with registry.guarded(partial(self._leave_out, self._metrics, "metric", name)):
                value = _figure(metric.compute(record))
                if value is not None:
                    figures[name] = value
        return record.model_copy(update={"metrics": figures}) if figures else record

    def _each_recorder(self, call: Callable[[Recorder], object]) -> None:
        for name, recorder in list(self._recorders.items()):
            with registry.guarded(partial(self._leave_out, self._recorders, "recorder", name)):
                call(recorder)

    def _leave_out(self, among: dict[str, Any], what: str, name: str, reason: str) -> None:
        del among[name]
        self._note(f"{what} {name!r} failed and is left out: {reason}")

    def _call(self, hook: str, run: StartedRun | FinishedRun) -> None:
        for implementation in registry.implementations(hook):
            implementation.call(lambda given: None, {"run": run}, self._note)


def _figure(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise TypeError(f"{value!r:.80} is no finite number")
    return float(value)


def _links(given: Any) -> dict[str, str]:
    links = dict(given or {})
    for label, link in links.items():
        if not isinstance(label, str) or not isinstance(link, str):
            raise TypeError(f"{link!r:.80} is no link")
    return links
