"""The check pass: every program is proven equal before it is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.harness.passes.events import CheckDone
from cnnbench.harness.passes.findings import ChecksPart, Failure
from cnnbench.harness.passes.prefetch import OraclePrefetcher
from cnnbench.harness.passes.worker_subject import WorkerSubject
from cnnbench.harness.run.session import Session
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.status import Status
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.pool import Pool
from cnnbench.measurement.memory import release_free_memory

if TYPE_CHECKING:
    from cnnbench.numerics.outcome import CheckOutcome
    from cnnbench.spec.graph import Graph

PROBLEMS: dict[str, Status] = {"nan": "nan", "wrong_shape": "wrong_shape", "wrong_dtype": "wrong_dtype"}


def check_pass(session: Session, cells: Sequence[Cell], pool: Pool) -> None:
    """Runs the checks of every cell that has some, a network's backends together so that they share its oracle."""
    checked = [cell for cell in sorted(cells, key=lambda cell: cell.group) if cell.checks]
    with OraclePrefetcher(session, checked) as prefetcher:
        for cell in checked:
            if session.open(cell) and session.store.read_part(cell.id, "checks", ChecksPart) is None:
                with session.guarded(cell, lambda cell=cell: pool.peek(session.spec(cell))):  # type: ignore[misc]
                    prefetcher.look_ahead(cell)
                    _check(session, cell, pool, prefetcher)
            session.finished(len(cell.checks))
    _spread_failures(session, cells)


def _check(session: Session, cell: Cell, pool: Pool, prefetcher: OraclePrefetcher) -> None:
    session.doing(cell, "checks")
    loaded = pool.get(session.spec(cell))
    with session.watch.timing("checks"):
        subject = WorkerSubject(loaded.worker, session.plan.suite.timeouts.call_s, loaded.kinds)
        outcomes = _outcomes(session, cell, subject, prefetcher)
    folder = session.store.cell_folder(cell.id)
    part = ChecksPart(
        origin=loaded.origin(cell),
        outcomes=tuple(outcome.within(folder) for outcome in outcomes),
    )
    session.store.write_numerics(cell.id, [use for outcome in outcomes for use in outcome.nodes])
    session.store.write_part(cell.id, "checks", part)
    for outcome in part.outcomes:
        session.emit(CheckDone(cell.id, outcome))
    release_free_memory()  # an oracle's arrays are gigabytes; left in the heap they would add up over a zoo of networks


def _outcomes(session: Session, cell: Cell, subject: WorkerSubject, prefetcher: OraclePrefetcher) -> list[CheckOutcome]:
    from cnnbench.numerics.case import Case, TrainingSteps
    from cnnbench.numerics.checks import run_checks

    checks = session.plan.suite.checks
    material = session.materials.of(cell)
    case = Case(
        graph=material.graph,
        arrays=read_arrays(material.arrays),
        batch=session.materials.inputs(cell, checks.batch),
        options=material.options,
        seed=cell.seed,
        training=TrainingSteps.of_steps(checks.training_steps),
        folder=session.store.cell_folder(cell.id),
    )

    def begin(name: str) -> None:
        session.doing(cell, f"{name} check")
        prefetcher.expect(cell, name)

    return run_checks(cell.checks, subject, case, begin)


def failure_of(outcomes: Sequence[CheckOutcome]) -> Failure | None:
    """The failure that the outcomes of checks amount to: the first that failed says how."""
    for outcome in outcomes:
        if outcome.status == "failed":
            status = PROBLEMS.get(str(outcome.details.get("problem")), "mismatch")
            return Failure(status=status, reason=f"{outcome.name} check: {outcome.message}")
    return None


def _spread_failures(session: Session, cells: Sequence[Cell]) -> None:
    """A program that failed its checks counts as failed at every batch size, whichever cell the checks ran in."""
    wrong: dict[tuple[object, ...], tuple[Cell, Failure]] = {}
    for cell in cells:
        part = session.store.read_part(cell.id, "checks", ChecksPart) if cell.checks else None
        failure = failure_of(part.outcomes) if part else None
        if failure is not None:
            wrong.setdefault(_program(cell), (cell, failure))
    for cell in cells:
        if _program(cell) not in wrong or not session.open(cell):
            continue
        source, failure = wrong[_program(cell)]
        if source is not cell:
            failure = Failure(status=failure.status, reason=f"as {source.id}: {failure.reason}")
        session.wrong[cell.id] = failure
        if not session.options.time_wrong_numbers:
            session.fail(cell, failure)


def _program(cell: Cell) -> tuple[object, ...]:
    """What cells have in common that run the same program, but for the batch size."""
    names = ("architecture", "image", "num_classes", "precision", "device", "threads", "data", "side")
    more = ("backend", "mode", "layout", "fold_batch_norm", "seed")
    return tuple(getattr(cell, name) for name in (*names, *more))


def judge_outputs(graph: Graph, cell: Cell, outputs: Mapping[str, Any]) -> Failure | None:
    """What is wrong at first sight with the outputs of the program that will be timed."""
    import numpy as np

    shapes = graph.shapes(cell.batch)
    wanted = "float64" if cell.precision == "float64" else "float32"
    for name, value in graph.outputs:
        array = outputs.get(name)
        if array is None or tuple(array.shape) != shapes[value]:
            found = "missing" if array is None else list(array.shape)
            return Failure(status="wrong_shape", reason=f"output {name!r} is {found}, expected {list(shapes[value])}")
        if array.dtype.name != wanted:
            return Failure(status="wrong_dtype", reason=f"output {name!r} is {array.dtype.name}, expected {wanted}")
        wrong = int(np.count_nonzero(~np.isfinite(array)))
        if wrong:
            return Failure(status="nan", reason=f"output {name!r} has {wrong} of {array.size} values not finite")
    return None
