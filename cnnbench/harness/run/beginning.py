"""What a run starts with, or goes on from: its folder, its plan, its interpreters and the records that stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnnbench.errors import SuiteError
from cnnbench.harness.run.differences import first_difference
from cnnbench.harness.run.events import CellRecorded
from cnnbench.harness.run.options import RunOptions
from cnnbench.harness.run.provenance import changed_since
from cnnbench.harness.run.state import RunState
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.asked import suite_as_asked
from cnnbench.harness.suite.plan import Plan, with_present_files
from cnnbench.harness.worker.sides import interpreters_of
from cnnbench.measurement.environment import capture, fingerprint
from cnnbench.measurement.installed import distributions as installed_distributions

RUN_AGAIN = frozenset({"crashed", "hung", "out_of_memory", "error", "interrupted"})


def begin(store: RunStore, plan: Plan, options: RunOptions) -> tuple[Plan, RunOptions]:
    """Writes down what a run starts with.

    A run that is continued gets the interpreters that it was started with, and its networks and weights as they are
    now: what was measured of others is measured again.

    Args:
        store: The run's folder.
        plan: What is asked.
        options: How it is run.

    Raises:
        SuiteError: The run to continue was started with another plan.
    """
    if options.resume is not None and (store.folder / "plan.json").exists():
        before = store.read_plan()
        _refuse_other(store, before, plan)
        plan = with_present_files(plan.model_copy(update={"filters": before.filters}))
        store.write_plan(plan)
        return plan, replace(options, pythons=options.pythons or interpreters_of(store.read_environment()))
    sides = {name: interpreter.reported for name, interpreter in options.sides.items()}
    distributions = {name: interpreter.distributions for name, interpreter in options.sides.items()}
    store.write_lock(distributions or {"head": installed_distributions()})
    store.write_environment(capture() | ({"sides": sides} if sides else {}))
    store.write_plan(plan)  # the last: a run that was killed before has no plan, and one with a plan has all of this
    return plan, options


def _refuse_other(store: RunStore, before: Plan, plan: Plan) -> None:
    differing = first_difference(_asked(before), _asked(plan))
    if differing is not None:
        raise SuiteError(
            "the run was started with another plan",
            where=str(store.folder),
            received=f"another {differing}",
            remedy="resume it with the suite and the options that it was started with",
        )


def _asked(plan: Plan) -> dict[str, Any]:
    return {"suite": suite_as_asked(plan.suite), "cells": {cell.id: cell.key for cell in plan.cells}}


def take_over(state: RunState, environment: Mapping[str, Any]) -> None:
    """Takes over the records of the run that is continued, but for those that must be made again.

    Args:
        state: Of the run.
        environment: In which it was started.
    """
    cells = {cell.id: cell for cell in state.plan.cells}
    for name, record in state.store.records().items():
        if record.status in RUN_AGAIN or name not in cells:
            continue
        changed = changed_since(record.cell, cells[name])
        if changed:
            state.note(f"{name} is measured again: its record was made from another {changed[0]}")
        else:
            state.records[name] = record
    if state.options.resume is not None:
        now = capture()
        if fingerprint(now) != fingerprint(environment):
            state.note("the run was continued on another machine than it was started on")
        if now["packages"] != environment.get("packages"):
            state.note("the run was continued with other versions of packages than it was started with")


def tell_taken_over(state: RunState) -> None:
    """Lets listeners hear of the records that were taken over."""
    for name, record in state.records.items():
        state.tell(CellRecorded(record, state.store.cell_folder(name), resumed=True))
