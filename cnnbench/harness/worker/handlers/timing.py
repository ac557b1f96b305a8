"""Programs that are timed: prepared, warmed up, checked for synchronisation, sampled and released."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cnnbench.execution.host import joined
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.handlers.state import PreparedProgram, WorkerState
from cnnbench.harness.worker.protocol.setup import Done
from cnnbench.harness.worker.protocol.timing import (
    BeginTurnsRequest,
    CollectReply,
    CollectRequest,
    EndTurnsReply,
    EndTurnsRequest,
    FeedRequest,
    MachineRatesReply,
    MachineRatesRequest,
    PrepareReply,
    PrepareRequest,
    ReleaseRequest,
    SampleReply,
    SampleRequest,
    SynchronizationReply,
    SynchronizationRequest,
    TurnReply,
    TurnRequest,
    WarmUpReply,
    WarmUpRequest,
    YardsticksReply,
    YardsticksRequest,
)

if TYPE_CHECKING:
    from cnnbench.execution.compiled import ForwardProgram
    from cnnbench.measurement.clock import Clock
    from cnnbench.measurement.turns import Turns

T = TypeVar("T")


def prepare(request: PrepareRequest, state: WorkerState) -> PrepareReply:
    """Makes a cell's program and calls it once."""
    from cnnbench.execution.compiled import ForwardProgram
    from cnnbench.harness.worker.handlers.rotation import FIRST, Rotation
    from cnnbench.measurement.sampling import TimedCall
    from cnnbench.numerics.session import ProgramSession

    backend, clock = state.loaded, state.clock
    program, build_s = _timed(clock, lambda: backend.compile_forward(request.graph, request.options))
    weights_s = _load_weights(program, request, state)
    batch = _in_memory(request.batch)
    operands = program.upload(batch)
    backend.synchronize()
    _, compile_s = _timed(clock, lambda: program.prepare(operands))
    compiles_apart = type(program).prepare is not ForwardProgram.prepare

    def call() -> Any:
        result = program.run(operands)
        backend.synchronize(result)
        return result

    result, first_call_s = _timed(clock, call)
    if request.output is not None:
        write_arrays(request.output, program.download(result).outputs)
    session = state.sessions[request.cell] = ProgramSession(backend, request.graph, program)
    session.adopt(FIRST, operands)
    session.shared = {item.name: batch[item.name] for item in request.graph.inputs if not item.batched}
    rotation = Rotation(session, read_arrays(request.stock) if request.stock is not None else None, clock)
    timed = TimedCall(rotation.run, backend.synchronize, program.download, begun=rotation.begun, seen=rotation.seen)
    state.prepared[request.cell] = PreparedProgram(rotation, timed, request.sampling)
    return PrepareReply(
        build_s=build_s,
        weights_s=weights_s,
        compile_s=compile_s if compiles_apart else None,
        first_call_s=first_call_s,
    )


def _load_weights(program: ForwardProgram, request: PrepareRequest, state: WorkerState) -> float:
    """Puts the weights on the device; the seconds of that alone. The host's copy is gone afterwards."""
    from cnnbench.spec.weights import split_state

    weights, running = split_state(request.graph, _in_memory(request.arrays))
    start = state.clock.now()
    program.load(weights, running)
    state.loaded.synchronize()
    return state.clock.now() - start


def feed(request: FeedRequest, state: WorkerState) -> Done:
    """Uploads the inputs that the next calls go round over."""
    state.program(request.cell).rotation.feed(request.rows)
    return Done()


def warm_up(request: WarmUpRequest, state: WorkerState) -> WarmUpReply:
    """Calls a prepared program until it is steady."""
    from cnnbench.measurement import sampling

    prepared = state.program(request.cell)
    found = sampling.warm_up(prepared.timed, prepared.settings)
    prepared.calls_per_sample = found.calls_per_sample
    return WarmUpReply(warm_up=found)


def check_synchronization(request: SynchronizationRequest, state: WorkerState) -> SynchronizationReply:
    """Checks that the time of a call is the time of its work, on every input."""
    from cnnbench.harness.worker.handlers.rotation import feeder
    from cnnbench.measurement import synchronization
    from cnnbench.measurement.observation import wait_until_idle

    prepared = state.program(request.cell)
    fresh = synchronization.check_freshness(prepared.timed, feeder(prepared.rotation, request.lots))
    found = synchronization.check_synchronization(prepared.timed, request.call_s)
    wait_until_idle()
    return SynchronizationReply(check=found, fresh=fresh)


def sample(request: SampleRequest, state: WorkerState) -> SampleReply:
    """Takes one round of samples."""
    from cnnbench.measurement.observation import observe
    from cnnbench.measurement.sampling import measure_round

    prepared = state.program(request.cell)
    start, end = prepared.timed.clock.now(), observe()
    samples_s = measure_round(prepared.timed, prepared.settings, prepared.calls_per_sample)
    observed = end()
    return SampleReply(samples_s=tuple(samples_s), observed=observed, elapsed_s=prepared.timed.clock.now() - start)


def collect(request: CollectRequest, state: WorkerState) -> CollectReply:
    """What the samples since the last collection gave, once the process is idle."""
    from cnnbench.measurement.observation import wait_until_idle

    idle_after_s = wait_until_idle()
    rotation = state.program(request.cell).rotation
    calls, again, used_s = rotation.calls, tuple(rotation.again), tuple(rotation.used_s)
    first, deviation, num_read = rotation.collect()
    write_arrays(request.output, joined({str(index): outputs for index, outputs in first.items()}))
    return CollectReply(
        inputs=tuple(first),
        deviation=deviation,
        num_read=num_read,
        calls=calls,
        again=again,
        used_s=used_s,
        idle_after_s=idle_after_s,
    )


def begin_turns(request: BeginTurnsRequest, state: WorkerState) -> Done:
    """Begins a round whose samples alternate with those of another process."""
    from cnnbench.measurement.turns import Turns

    if state.turns is not None:  # another cell's round that was broken off
        state.turns.end()
    prepared = state.program(request.cell)
    state.turns = Turns(prepared.timed, prepared.calls_per_sample)
    return Done()


def turn(request: TurnRequest, state: WorkerState) -> TurnReply:
    """Takes the next samples of such a round."""
    return TurnReply(turn=_round(state).take(request.samples))


def end_turns(request: EndTurnsRequest, state: WorkerState) -> EndTurnsReply:
    """Ends such a round."""
    observed, used_s = _round(state).end()
    state.turns = None
    return EndTurnsReply(observed=observed, used_s=used_s)


def release(request: ReleaseRequest, state: WorkerState) -> Done:
    """Forgets a prepared program."""
    state.prepared.pop(request.cell, None)
    state.sessions.pop(request.cell, None)
    return Done()


def yardsticks(request: YardsticksRequest, state: WorkerState) -> YardsticksReply:
    """What this machine can do at best."""
    from cnnbench.measurement import yardsticks as measured

    return YardsticksReply(**measured.yardsticks())


def machine_rates(request: MachineRatesRequest, state: WorkerState) -> MachineRatesReply:
    """What these processors can do at best."""
    from cnnbench.measurement import yardsticks as measured

    found = measured.machine_rates(request.storage)
    return MachineRatesReply(operations_per_s=found.operations_per_s, copied_bytes_per_s=found.copied_bytes_per_s)


def _round(state: WorkerState) -> Turns:
    if state.turns is None:
        raise RuntimeError("no round was begun")
    return state.turns


def _timed(clock: Clock, action: Callable[[], T]) -> tuple[T, float]:
    """What an action gives, and its seconds."""
    start = clock.now()
    found = action()
    return found, clock.now() - start


def _in_memory(path: Path) -> dict[str, Any]:
    """The arrays of a file as a program's user would hold them: aligned, in memory of their own."""
    import numpy as np

    return {name: np.array(array) for name, array in read_arrays(path).items()}
