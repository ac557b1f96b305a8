"""The worker's end of the pipe: reads one request after another, has it handled, and writes events and replies."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from cnnbench.errors import CnnbenchError, UnavailableError
from cnnbench.harness.worker.errors import ProtocolError
from cnnbench.harness.worker.handlers import checks, claims, memory, programs, sessions, setup, timing, training
from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.protocol.checks import ForwardRequest, GradientRequest, PrefetchRequest, StepsRequest
from cnnbench.harness.worker.protocol.claims import ClaimRequest
from cnnbench.harness.worker.protocol.memory import NullMemoryRequest, PeakMemoryRequest
from cnnbench.harness.worker.protocol.messages import (
    LONGEST_LINE_BYTES,
    Message,
    ReportedError,
    Request,
    encode,
    read_content,
    read_head,
)
from cnnbench.harness.worker.protocol.programs import PicturesRequest, RoundsRequest, TrainProgramRequest
from cnnbench.harness.worker.protocol.sessions import (
    CallsRequest,
    CloseSessionRequest,
    HeldRequest,
    LoadArraysRequest,
    OpenGradientRequest,
    OpenSessionRequest,
    OverwriteRequest,
    UploadRequest,
)
from cnnbench.harness.worker.protocol.setup import Done, EnvironmentRequest, ExitRequest, HelloRequest, LoadRequest
from cnnbench.harness.worker.protocol.timing import (
    BeginTurnsRequest,
    CollectRequest,
    EndTurnsRequest,
    FeedRequest,
    MachineRatesRequest,
    PrepareRequest,
    ReleaseRequest,
    SampleRequest,
    SynchronizationRequest,
    TurnRequest,
    WarmUpRequest,
    YardsticksRequest,
)
from cnnbench.harness.worker.protocol.training import CrossingsRequest, EvaluateRequest, LossesRequest, TrainRequest

# MemoryError, torch's and XLA's own words, and CUDA's.
_OUT_OF_MEMORY = re.compile(
    r"MemoryError|ResourceExhausted|OutOfMemory|RESOURCE_EXHAUSTED|out of memory|not enough memory", re.IGNORECASE
)
LONGEST_ERROR = 4000
WHAT = "a request"

Handler = Callable[[Any, WorkerState], Message]

HANDLERS: Mapping[type[Request[Any]], Handler] = {
    HelloRequest: setup.hello,
    EnvironmentRequest: setup.environment,
    LoadRequest: setup.load,
    PrepareRequest: timing.prepare,
    FeedRequest: timing.feed,
    WarmUpRequest: timing.warm_up,
    SynchronizationRequest: timing.check_synchronization,
    SampleRequest: timing.sample,
    CollectRequest: timing.collect,
    BeginTurnsRequest: timing.begin_turns,
    TurnRequest: timing.turn,
    EndTurnsRequest: timing.end_turns,
    ReleaseRequest: timing.release,
    YardsticksRequest: timing.yardsticks,
    MachineRatesRequest: timing.machine_rates,
    NullMemoryRequest: memory.null_memory,
    PeakMemoryRequest: memory.peak_memory,
    ForwardRequest: checks.forward,
    GradientRequest: checks.gradient,
    StepsRequest: checks.steps,
    PrefetchRequest: checks.prefetch,
    OpenSessionRequest: sessions.open_session,
    OpenGradientRequest: sessions.open_gradient,
    LoadArraysRequest: sessions.load_arrays,
    UploadRequest: sessions.upload,
    CallsRequest: sessions.calls,
    OverwriteRequest: sessions.overwrite,
    HeldRequest: sessions.held,
    CloseSessionRequest: sessions.close_session,
    LossesRequest: training.losses,
    CrossingsRequest: training.crossings,
    TrainRequest: training.train,
    EvaluateRequest: training.evaluate,
    RoundsRequest: programs.rounds,
    TrainProgramRequest: programs.train_program,
    PicturesRequest: programs.pictures,
    ClaimRequest: claims.claim,
    ExitRequest: lambda request, state: Done(),
}
REQUESTS = {kind.method: kind for kind in HANDLERS}


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers requests until one asks to exit or the pipe ends.

    Args:
        requests: Lines from the parent.
        replies: Unbuffered; lines to the parent.

    Raises:
        ProtocolError: A line has no number that it could be answered by.
    """
    state = WorkerState()
    while line := requests.readline(LONGEST_LINE_BYTES + 1):
        if len(line) > LONGEST_LINE_BYTES:
            raise ProtocolError(f"{WHAT} is longer than {LONGEST_LINE_BYTES} bytes")
        number, data = read_head(line, WHAT)

        def emit(event: Message, number: int = number) -> None:
            _write(replies, encode(number, "event", event))

        state.emit = emit
        exits = False
        try:
            request = read_request(line, data)
            reply = encode(number, "result", HANDLERS[type(request)](request, state))
            exits = isinstance(request, ExitRequest)
        except BaseException as error:  # whatever it is, the parent must hear of it
            traceback.print_exc()
            reply = encode(number, "error", describe_error(error))
        _write(replies, reply)
        if exits:
            return


def read_request(line: bytes, data: Mapping[str, Any]) -> Request[Any]:
    """The request in a line. Raises ProtocolError where there is none of that name or it is not valid."""
    method = data.get("method")
    if not isinstance(method, str) or method not in REQUESTS:
        expected = ", ".join(REQUESTS)
        raise ProtocolError("unknown request", where="method", received=repr(method), expected=expected)
    request: Request[Any] = read_content(line, "parameters", REQUESTS[method], f"the request {method!r}")
    return request


def describe_error(error: BaseException) -> ReportedError:
    """An exception as the parent gets it."""
    message, kind = str(error) or repr(error), type(error).__name__
    return ReportedError(
        kind=kind,
        message=message[:LONGEST_ERROR],
        out_of_memory=isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(f"{kind}: {message}")),
        unavailable=isinstance(error, UnavailableError),
        culprit=None if isinstance(error, CnnbenchError) else _culprit(error),
    )


def _culprit(error: BaseException) -> str | None:
    from cnnbench.execution.culprits import culprit

    return culprit(error)


def _write(replies: BinaryIO, line: bytes) -> None:
    data = memoryview(line)
    while data:
        data = data[replies.write(data) :]
