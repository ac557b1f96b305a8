"""``log``: sends a run that lies on disk to recorders, and which recorders a caller means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.harness.run.extensions import FinishedRun, Recorder, StartedRun
from cnnbench.harness.run.hooks import offered_recorders
from cnnbench.harness.run.lookup import RunLike, find_run
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore


def log(
    run: RunLike, recorders: Sequence[str] | Mapping[str, Recorder] | None = None, root: Path | str = DEFAULT_ROOT
) -> dict[str, str]:
    """Sends a run's records to recorders, as ``run`` does while it measures. An error of one is raised.

    Args:
        run: The run.
        recorders: Names (``["mlflow"]``), or recorders by name; all that are registered unless given.
        root: Where runs' folders lie.

    Returns:
        The recorders' links by label, which are kept in the run's summary.

    Raises:
        SuiteError: There is no such run or recorder. DataError: the run did not come to its end.
    """
    folder = find_run(run, root)
    store = RunStore.open(folder)
    plan, environment, records = store.read_plan(), store.read_environment(), store.records()
    summary = store.read_summary()
    links: dict[str, str] = {}
    for recorder in chosen_recorders(recorders).values():
        recorder.started(StartedRun(store.id, folder, plan, environment))
        for name, record in records.items():
            recorder.recorded(record, store.cell_folder(name))
        finished = FinishedRun(store.id, folder, plan, environment, tuple(records.values()), summary)
        links |= recorder.finished(finished) or {}
    store.write_summary(summary.model_copy(update={"links": {**summary.links, **links}}))
    return links


def chosen_recorders(chosen: Sequence[str] | Mapping[str, Recorder] | None) -> Mapping[str, Recorder]:
    """The recorders by name: all that plugins offer for None, those named, or those given.

    Raises:
        SuiteError: A name that no plugin offers.
    """
    if isinstance(chosen, Mapping):
        return chosen
    if chosen is not None and not chosen:
        return {}
    known = offered_recorders()
    for name in chosen or ():
        if name not in known:
            raise SuiteError("there is no such recorder", received=name, remedy=did_you_mean(name, known))
    return known if chosen is None else {name: known[name] for name in chosen}
