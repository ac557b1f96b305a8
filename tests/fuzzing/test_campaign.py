"""A campaign on faulty backends: what is found is reduced, told once, kept, replayed; a killed one goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cnnbench.errors import SuiteError
from cnnbench.execution.backends import load_backend
from cnnbench.fuzzing.campaign import Campaign, Limits
from cnnbench.fuzzing.examination import OWN, REDUCTION_S, WORKER, Series, examine, reduced
from cnnbench.fuzzing.findings import Signature
from cnnbench.fuzzing.known import KnownDefect, known_defect
from cnnbench.fuzzing.network import draw_network
from cnnbench.fuzzing.progress import FILE, Progress, read_progress, write_progress
from cnnbench.fuzzing.values import draw_case
from cnnbench.harness.worker.errors import WorkerCrashError
from cnnbench.measurement.clock import ManualClock
from cnnbench.numerics.replay import replay
from cnnbench.numerics.subject import InProcessSubject

PRECISIONS = ("float32", "float64", "bfloat16", "float16")


def first_with(kind: str) -> int:
    """The number of the first network that holds a kind, in a precision in which 1 % is no rounding."""

    def fits(number: int) -> bool:
        drawn = draw_network(0, number)
        held = any(node.layer.kind == kind for node in drawn.graph.nodes)
        return held and draw_case(drawn).case.policy.name in ("float32", "float64")

    return next(number for number in range(400) if fits(number))


def series(alter=None) -> Series:
    backend = load_backend("numpy")
    if alter is not None:
        backend.operations = alter(backend.operations)
    return Series("numpy", "fast", lambda: InProcessSubject(backend), PRECISIONS, (), lambda: {"numpy": "2"})


def wrong(operations, kind: str):
    """The backend's op of a kind, whose first output is 1 % too large."""
    operation = operations[kind]

    def scaled(layer, inputs, weights, state, call):
        result = operation.forward(layer, inputs, weights, state, call)
        return result._replace(outputs=(result.outputs[0] * result.outputs[0].dtype.type(1.01), *result.outputs[1:]))

    return operations.replace(kind, replace(operation, forward=scaled))


def run(folder: Path | None, subject: Series, number: int, count: int = 1):
    if folder is not None and not (folder / FILE).exists():
        write_progress(folder, Progress(seed=0, number=number))
    return Campaign([subject], 0, folder).run(Limits(count=count))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A planted fault, found."""
    folder = tmp_path_factory.mktemp("fuzz")
    number = first_with("silu")
    subject = series(lambda operations: wrong(operations, "silu"))
    return folder, number, subject, run(folder, subject, number)


def test_a_planted_fault_is_found_and_reduced_to_its_node(found):
    _, number, _, (progress, new) = found
    assert progress.number == number + 1
    local = next(item for item in new if item.signature.check == "local")
    assert local.signature.kind == "silu"
    assert local.nodes == 1 < local.before
    assert local.share > 1
    assert '"kind": "silu"' in local.network
    assert "got" in local.message
    assert "expected" in local.message


def test_the_reproducer_fails_on_the_faulty_backend_and_passes_on_the_right_one(found):
    folder, _, subject, (_, new) = found
    file = folder / next(item for item in new if item.signature.check == "local").file
    assert replay(file, subject.subject()).status == "failed"
    assert replay(file, series().subject()).status == "passed"


def test_what_was_found_before_is_counted_and_not_told_again(found):
    folder, number, subject, (before, _) = found
    kept = read_progress(folder, 0)
    assert kept == before
    again = before.model_copy(update={"number": number})
    write_progress(folder, again)
    progress, new = run(folder, subject, number)
    assert new == ()
    assert {item.seen for item in progress.findings} == {2}


def test_what_other_code_or_packages_gave_is_not_counted_and_what_is_still_there_is_told_again(found, tmp_path):
    _, number, subject, (before, new) = found
    write_progress(tmp_path, before.model_copy(update={"number": number, "made_from": "of an earlier commit"}))
    kept = read_progress(tmp_path, 0)
    assert (kept.number, kept.networks, kept.findings) == (number, 0, ())
    _, again = run(tmp_path, subject, number)
    assert [item.signature for item in again] == [item.signature for item in new]


def test_a_reduction_ends_with_its_time(found):
    """Every later network counts as one that does not fail, so that what was found so far stays."""
    clock, (_, number, _, _) = ManualClock(), found
    asked = series(lambda operations: wrong(operations, "silu"))

    def slow():
        clock.advance(REDUCTION_S)
        return asked.subject()

    case = asked.question(draw_case(draw_network(0, number)).case)
    failure = next(item for item in examine(asked, case, ["local"])[1])
    small, _ = reduced(replace(asked, subject=slow), case, failure, ["local"], clock.clock)
    assert len(small.graph.nodes) == len(case.lowered.nodes) > 1


def test_right_backends_are_right(tmp_path):
    progress, new = run(tmp_path, series(), 0, count=6)
    assert [item.text() for item in new] == []
    assert progress.networks == 6
    assert ("numpy fast", "local", "passed") in {(item.series, item.check, item.status) for item in progress.outcomes}


def test_a_killed_run_goes_on_at_its_number_and_gives_up_a_network_that_kills_it(tmp_path):
    def killed():
        raise KeyboardInterrupt

    lethal = replace(series(), subject=killed)
    for attempt in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, lethal, 0)
        assert (read_progress(tmp_path, 0).number, read_progress(tmp_path, 0).attempts) == (0, attempt)
    progress, _ = run(tmp_path, lethal, 0)
    assert (progress.number, progress.networks) == (1, 0)


def test_a_process_that_ends_and_a_check_that_raises_are_findings(tmp_path):
    def ended():
        raise WorkerCrashError("the worker ended during 'forward' with signal 11 (SIGSEGV)")

    def raising():
        raise ZeroDivisionError("a defect of a check")

    for subject, check in ((ended, WORKER), (raising, OWN)):
        _, new = run(None, replace(series(), subject=subject), 0)
        assert [item.signature.check for item in new] == [check]


def test_a_folder_of_another_seed_is_refused(tmp_path):
    run(tmp_path, series(), 0)
    with pytest.raises(SuiteError, match="another sequence"):
        read_progress(tmp_path, 7)


def test_a_known_defect_is_recognised_by_its_versions(found):
    item = found[3][1][0].model_copy(
        update={
            "signature": Signature(backend="torch", mode="compile", check="local", kind="elu", quantity="output"),
            "versions": {"torch": "2.13.0+cpu"},
        }
    )
    row = KnownDefect("`torch_x`", "torch", "local|end_to_end", "elu", "output", "torch", r"2\.13\..*", "compile")
    assert known_defect(item, (row,)) == "`torch_x`"
    assert known_defect(item.model_copy(update={"versions": {"torch": "2.14.0"}}), (row,)) is None
    assert known_defect(item, ()) is None
