"""The check pass: every program is proven equal before it is timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cnnbench.harness.passes.events import CheckFinished, WrongNumbersFound
from cnnbench.harness.passes.facts import PassFacts
from cnnbench.harness.passes.findings import ChecksPart, Failure
from cnnbench.harness.passes.prefetch import OraclePrefetcher, oracle_key
from cnnbench.harness.passes.program_check import check_program_in_worker
from cnnbench.harness.passes.train_settings import training_steps
from cnnbench.harness.passes.work import Work
from cnnbench.harness.passes.worker_subject import WorkerSubject
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.suite.status import Status
from cnnbench.harness.suite.trainings import PROGRAM_CHECK
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.pool import Pool
from cnnbench.measurement.memory import release_free_memory
from cnnbench.numerics.outcome import CheckOutcome

if TYPE_CHECKING:
    from cnnbench.numerics.case import Case

PROBLEMS: dict[str, Status] = {
    "nan": "nan",
    "wrong_shape": "wrong_shape",
    "wrong_dtype": "wrong_dtype",
    "raised": "error",
}


def check_pass(work: Work, cells: Sequence[Cell], pool: Pool) -> None:
    """Runs the checks of every cell that has some, a network's backends together so that they share its oracle.

    Args:
        work: The pass.
        cells: All cells of the run that are not skipped.
        pool: Its workers.
    """
    checked = [cell for cell in sorted(cells, key=lambda cell: cell.group) if cell.checks]
    missing = [cell for cell in checked if work.is_open(cell) and work.facts.found(cell).checks is None]
    with OraclePrefetcher(work, missing) as prefetcher, _common_answers():
        for cell in checked:
            if cell in missing:
                with work.guarded(cell, lambda cell=cell: pool.peek(work.facts.spec(cell))):  # type: ignore[misc]
                    prefetcher.look_ahead(cell)
                    _check(work, cell, pool, prefetcher)
            work.count(len(cell.checks))
    _report_wrong_numbers(work, cells)


@contextmanager
def _common_answers() -> Iterator[None]:
    """Holds what the checks of several backends have in common, and gives the memory back at the end."""
    from cnnbench.numerics.common_answers import COMMON

    with COMMON.kept():
        yield
    release_free_memory()


def _check(work: Work, cell: Cell, pool: Pool, prefetcher: OraclePrefetcher) -> None:
    work.begin(cell, "checks")
    loaded = pool.get(work.facts.spec(cell))
    with work.watch.timing("checks"):
        subject = WorkerSubject(loaded.worker, work.facts.suite.timeouts.call_s, loaded.kinds, loaded.special_gaps)
        outcomes = _outcomes(work, cell, subject, prefetcher)
        if PROGRAM_CHECK in cell.checks:
            work.begin(cell, f"{PROGRAM_CHECK} check")
            outcomes.append(check_program_in_worker(work.facts, cell, loaded.worker))
    folder = work.facts.folder(cell)
    part = ChecksPart(origin=loaded.origin(cell), outcomes=tuple(outcome.within(folder) for outcome in outcomes))
    work.keep(cell, "checks", part)
    for outcome in part.outcomes:
        work.report(CheckFinished(cell.id, outcome))
    release_free_memory()  # an oracle's arrays are gigabytes; left in the heap they would add up over a zoo of networks


def _outcomes(work: Work, cell: Cell, subject: WorkerSubject, prefetcher: OraclePrefetcher) -> list[CheckOutcome]:
    from cnnbench.numerics.checks import run_checks

    def begin(name: str) -> None:
        work.begin(cell, f"{name} check")
        prefetcher.expect(cell, name)

    case = replace(case_of(work.facts, cell), folder=work.facts.folder(cell))
    return run_checks([name for name in cell.checks if name != PROGRAM_CHECK], subject, case, begin)


def case_of(facts: PassFacts, cell: Cell) -> Case:
    """What the checks of a cell ask.

    Args:
        facts: Of the pass.
        cell: The cell.
    """
    from cnnbench.numerics.case import Case

    checks, materials = facts.suite.checks, facts.materials
    material = materials.of(cell)
    # Each size is another compilation, and the timing compares every cell's own.
    sizes = () if "latency" in cell.measure and not checks.thorough else Case.sizes
    return Case(
        graph=material.graph,
        arrays=read_arrays(material.arrays),
        batch=materials.inputs(cell, checks.batch),
        options=material.options,
        seed=cell.seed,
        training=training_steps(facts.suite, cell),
        sizes=sizes,
        thorough=checks.thorough,
    )


def failure_of(outcomes: Sequence[CheckOutcome]) -> Failure | None:
    """The failure that the outcomes of checks amount to: the first that failed says how."""
    for outcome in outcomes:
        if outcome.status == "failed":
            status = PROBLEMS.get(str(outcome.details.get("problem")), "mismatch")
            return Failure(status=status, reason=f"{outcome.name} check: {outcome.message}")
    return None


def _report_wrong_numbers(work: Work, cells: Sequence[Cell]) -> None:
    """A program that failed its checks counts as failed at every batch size, whichever cell the checks ran in.

    So does one whose checks did not come to their end: nothing is timed that was not proven.
    """
    wrong: dict[Key, tuple[Cell, Failure]] = {}
    for cell in cells:
        part = work.facts.found(cell).checks if cell.checks else None
        unproven = None if work.facts.time_wrong_numbers else work.failures.get(cell.id)
        failure = failure_of(part.outcomes) if part else unproven
        if failure is not None:
            wrong.setdefault(cell.program_key, (cell, failure))
    _suspect_reference(work, cells, wrong)
    for cell in cells:
        if cell.program_key not in wrong or not work.is_open(cell):
            continue
        source, failure = wrong[cell.program_key]
        if source is not cell:
            failure = Failure(status=failure.status, reason=f"as {source.id}: {failure.reason}")
        if work.facts.time_wrong_numbers:
            work.report(WrongNumbersFound(cell.id, failure))
        else:
            work.fail(cell, failure)


def _suspect_reference(work: Work, cells: Sequence[Cell], wrong: dict[Key, tuple[Cell, Failure]]) -> None:
    """Where NumPy alone disagrees, its programs are wrong too, and a note says so.

    So does one where it was compared with itself alone.
    """
    from cnnbench.numerics.suspicion import REFERENCE, one_definition, suspicion

    networks: dict[Key, list[Cell]] = {}
    for cell in cells:
        networks.setdefault(oracle_key(cell), []).append(cell)
    for members in networks.values():
        found: dict[str, list[Sequence[CheckOutcome]]] = {}
        for cell in members:
            if cell.checks and (part := work.facts.found(cell).checks) is not None:
                found.setdefault(cell.backend, []).append(part.outcomes)
        doubt = suspicion(found)
        if doubt is None:
            if (alone := one_definition(found)) is not None:
                work.note(f"{members[0].network}: {alone.message}")
            continue
        work.note(f"{members[0].network}: {doubt.text}")
        failure = Failure(status="mismatch", reason=f"reference: {doubt.text}")
        for cell in members:
            if cell.backend == REFERENCE:
                wrong.setdefault(cell.program_key, (cell, failure))
