"""Training by a program in a worker: a few rounds to be checked, and whole trainings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cnnbench.execution.host import joined
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.handlers.training import signs_of_life
from cnnbench.harness.worker.protocol.programs import (
    PICTURES,
    PicturesRequest,
    RoundsReply,
    RoundsRequest,
    TrainProgramReply,
    TrainProgramRequest,
)
from cnnbench.harness.worker.protocol.setup import Done
from cnnbench.harness.worker.protocol.training import EpochEvent

if TYPE_CHECKING:
    from cnnbench.training.programs.runner import ProgramRunner, ProgramState


def rounds(request: RoundsRequest, state: WorkerState) -> RoundsReply:
    """Runs a few rounds."""
    from cnnbench.numerics.program_course import taken

    found = list(taken(_runner(request, state), request.rounds, _start(request)))
    write_arrays(request.output, joined({str(i): item.values for i, item in enumerate(found)}))
    return RoundsReply(taken=tuple((item.round, item.phase) for item in found))


def train_program(request: TrainProgramRequest, state: WorkerState) -> TrainProgramReply:
    """Trains by a program."""
    from cnnbench.measurement.memory import PeakWatch
    from cnnbench.training.programs.loop import train_by_program

    state.loaded.reset_device_peak()
    with PeakWatch() as memory:
        result = train_by_program(
            _runner(request, state),
            request.rounds,
            _start(request),
            on_part=lambda part: state.emit(EpochEvent(epoch=part)),
            on_step=signs_of_life(state),
        )
    write_arrays(request.final, result.final.arrays)
    write_arrays(request.averages, result.final.averages)
    device_peak_bytes = state.loaded.device_peak_bytes()
    return TrainProgramReply(losses=result.losses, peak_bytes=memory.peak_bytes, device_peak_bytes=device_peak_bytes)


def pictures(request: PicturesRequest, state: WorkerState) -> Done:
    """Makes pictures."""
    from cnnbench.spec.weights import split_state
    from cnnbench.training.data import load_dataset
    from cnnbench.training.dataset import DataRequest

    how = replace(request.options, training=False, fold_batch_norm=False)
    program = state.loaded.compile_forward(request.sampling.graph, how)
    program.load(*split_state(request.sampling.graph, read_arrays(request.arrays)))
    given = None
    if request.data is not None:
        wanted = DataRequest("test", request.sampling.graph.inputs[0].shape)
        given = load_dataset(request.data, wanted).images
    write_arrays(request.output, {PICTURES: request.sampling.pictures(program, request.count, request.seed, given)})
    return Done()


def _runner(request: RoundsRequest | TrainProgramRequest, state: WorkerState) -> ProgramRunner:
    from cnnbench.training.programs.images import load_data
    from cnnbench.training.programs.runner import ProgramRunner, compiled_on

    data = load_data(request.program, request.settings)
    return ProgramRunner(request.program, compiled_on(state.loaded, request.options), request.settings, data)


def _start(request: RoundsRequest | TrainProgramRequest) -> ProgramState:
    from cnnbench.training.programs.runner import ProgramState

    return ProgramState(dict(read_arrays(request.arrays)))
