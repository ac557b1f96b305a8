"""The check of a training program in a worker: the worker runs a few rounds, and this process judges what it held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.execution.host import grouped
from cnnbench.harness.passes.program_settings import round_settings
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.protocol.programs import RoundsRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.harness.passes.facts import PassFacts
    from cnnbench.harness.passes.material import Material
    from cnnbench.harness.suite.cell import Cell
    from cnnbench.harness.worker.interface import Worker
    from cnnbench.numerics.checks.program import ExpectedRounds
    from cnnbench.numerics.outcome import CheckOutcome
    from cnnbench.numerics.program_course import Taken


def check_program_in_worker(facts: PassFacts, cell: Cell, worker: Worker) -> CheckOutcome:
    """The check of the program by which a cell trains; what the backend cannot do is a skipped one with its reason.

    Args:
        facts: Of the pass.
        cell: That trains by a program.
        worker: With the cell's backend loaded.
    """
    from cnnbench.errors import UnavailableError
    from cnnbench.numerics.checks.program import NAME, ROUNDS, judge_rounds
    from cnnbench.numerics.outcome import REFUSED, CheckOutcome

    material = facts.materials.of(cell)
    assert material.program is not None
    output = worker.folder / "rounds.safetensors"
    request = RoundsRequest(
        program=material.program,
        options=material.options,
        arrays=material.start,
        settings=round_settings(cell, facts.suite, batch=facts.suite.checks.batch),
        rounds=ROUNDS,
        output=output,
    )
    try:
        reply = worker.ask(request, timeout_s=facts.suite.timeouts.call_s)
        got = _taken(reply.taken, read_arrays(output))
        return judge_rounds(got, _expected(facts, cell, material), material.options.precision)
    except UnavailableError as error:
        return CheckOutcome(name=NAME, status="skipped", message=str(error), details={REFUSED: True})
    finally:
        output.unlink(missing_ok=True)


def _taken(taken: Sequence[tuple[int, str]], arrays: Mapping[str, NDArray[Any]]) -> Iterator[Taken]:
    """What was held after each phase, from the worker's file."""
    from cnnbench.numerics.program_course import Taken

    values = grouped(arrays)
    yield from (Taken(at, phase, values.get(str(i), {})) for i, (at, phase) in enumerate(taken))


def _expected(facts: PassFacts, cell: Cell, material: Material) -> ExpectedRounds:
    """What the reference makes of the program, once for all backends."""
    from cnnbench.numerics.checks.program import expected_rounds
    from cnnbench.numerics.reference import reference, reference_options
    from cnnbench.training.programs.images import load_data
    from cnnbench.training.programs.runner import ProgramRunner, compiled_on

    program = material.program
    assert program is not None
    key = ("expected rounds", material.digests.program, cell.seed, cell.precision)
    if key not in facts.materials.memo:
        settings = round_settings(cell, facts.suite, batch=facts.suite.checks.batch)
        compiler = compiled_on(reference().subject.backend, reference_options(training=True))
        runner = ProgramRunner(program, compiler, settings, load_data(program, settings))
        facts.materials.memo[key] = expected_rounds(runner, material.options.precision)
    found: ExpectedRounds = facts.materials.memo[key]
    return found
