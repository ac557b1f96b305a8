"""Trainings in a run: curves held to reference runs, which are kept; what is wrong with a curve or a prediction."""

from __future__ import annotations

import pytest
from small_suite import TRAIN

from cnnbench.errors import WorkerError
from cnnbench.harness.passes.events import EpochFinished, PartFound
from cnnbench.harness.worker.protocol.training import (
    CrossingsReply,
    CrossingsRequest,
    LossesRequest,
    TrainRequest,
)

NOT_TIMED = {"latency": None, "memory": False, "yardsticks": False}


def test_training_tells_its_epochs_and_holds_curves_to_reference_runs(go, machine):
    result, events = go(measure=NOT_TIMED, train=TRAIN)
    for record in result.records:
        assert [epoch.epoch for epoch in record.training.epochs] == [1, 2]
        told = [event.epoch for event in events if isinstance(event, EpochFinished) and event.cell == record.cell.id]
        assert told == list(record.training.epochs)
        assert record.training.envelope.agrees
        assert record.training.envelope.centre == "float64"
        assert record.training.evaluation.differing == ()
    assert len({record.training.envelope.reference for record in result.records}) == 1
    assert len(machine.requests(TrainRequest)) == 2
    assert len(machine.requests(LossesRequest)) == 1 + 2


def test_reference_runs_are_kept_for_the_run_that_is_continued(go, machine):
    def interrupt(event):
        if isinstance(event, PartFound) and event.name == "training-reference-2":
            raise KeyboardInterrupt

    first, _ = go(measure=NOT_TIMED, train=TRAIN, listeners=[interrupt])
    assert first.summary.interrupted
    machine.asked.clear()
    again, _ = go(measure=NOT_TIMED, train=TRAIN, resume=first.folder)
    assert again.records[0].training.envelope.agrees
    assert (len(machine.requests(TrainRequest)), len(machine.requests(LossesRequest))) == (0, 0)


def test_where_reference_runs_fail_curves_have_no_envelope_and_a_note_says_why(go, machine):
    machine.fail(LossesRequest, lambda worker, request: True, WorkerError("no memory for it"))
    result, _ = go(measure=NOT_TIMED, train=TRAIN)
    assert {record.status for record in result.records} == {"ok"}
    assert {record.training.envelope for record in result.records} == {None}
    assert any("have no envelope: no memory for it" in note for note in result.summary.notes)


@pytest.mark.parametrize("mode", ["reference", "fast"])
@pytest.mark.parametrize(
    ("change", "step"), [(lambda losses: (0.0,) * len(losses), 1), (lambda losses: (losses[0], 1.01 * losses[1]), 2)]
)
def test_a_curve_that_parts_at_once_ends_its_cell_as_a_mismatch(go, machine, change, step, mode):
    def train(worker, request):
        reply, _ = worker._reply(request)
        wrong = request.options.mode == mode
        return reply.model_copy(update={"losses": change(reply.losses)}) if wrong else reply

    machine.answers[TrainRequest] = train
    result, _ = go(measure=NOT_TIMED, train=TRAIN)
    for record in result.records:
        assert record.status == ("mismatch" if record.cell.mode == mode else "ok"), record.reason
        if record.cell.mode == mode:
            assert f"parts from NumPy's at step {step}" in record.reason
            assert record.training.envelope.agrees is False
    assert result.exit_code == 4


@pytest.mark.parametrize("moves", [(0.0, 0.02), (0.0, 0.005), None])
def test_what_values_that_cross_a_kink_move_is_admitted_and_asked_where_a_curve_parts_early(go, machine, moves):
    def train(worker, request):
        reply, _ = worker._reply(request)
        return reply.model_copy(update={"losses": (reply.losses[0], 1.02 * reply.losses[1])})

    machine.answers[TrainRequest] = train
    if moves is None:
        machine.fail(CrossingsRequest, lambda worker, request: True, WorkerError("no memory for it"))
    else:
        machine.answers[CrossingsRequest] = lambda worker, request: CrossingsReply(moves=moves)
    result, _ = go(measure=NOT_TIMED, train=TRAIN)
    (asked,) = machine.requests(CrossingsRequest)
    assert asked.exact == (1.0, 0.5)
    wanted = "ok" if moves == (0.0, 0.02) else "mismatch"  # a curve stays wrong where it could not be asked
    assert {record.status for record in result.records} == {wanted}
    assert moves is not None or any("across kinks: no memory for it" in note for note in result.summary.notes)


def test_predictions_that_the_trained_network_does_not_make_end_their_cell(go, machine):
    machine.answers[TrainRequest] = lambda worker, request: worker._reply(request)[0].model_copy(
        update={"predictions": (1,)}
    )
    result, _ = go(measure=NOT_TIMED, train=TRAIN)
    assert {record.status for record in result.records} == {"mismatch"}
    assert all("1 of 1 test images" in record.reason for record in result.records)
