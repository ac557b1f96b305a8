"""Programs that are kept: the same calls as in ``ProgramSession``, asked for over the pipe."""

from __future__ import annotations

from cnnbench.execution.host import joined
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.protocol.sessions import (
    AnswerReply,
    CallsReply,
    CallsRequest,
    CloseSessionRequest,
    HeldRequest,
    LoadArraysRequest,
    OpenGradientRequest,
    OpenSessionRequest,
    OverwriteRequest,
    UploadRequest,
)
from cnnbench.harness.worker.protocol.setup import Done


def open_session(request: OpenSessionRequest, state: WorkerState) -> Done:
    """Compiles a program and keeps it."""
    from cnnbench.numerics.subject import InProcessSubject

    state.sessions[request.session] = InProcessSubject(state.loaded).open(request.graph, request.options)
    return Done()


def open_gradient(request: OpenGradientRequest, state: WorkerState) -> Done:
    """Compiles a gradient program and keeps it."""
    from cnnbench.numerics.subject import InProcessSubject

    subject = InProcessSubject(state.loaded)
    state.sessions[request.session] = subject.open_gradient(request.graph, request.options, request.loss)
    return Done()


def load_arrays(request: LoadArraysRequest, state: WorkerState) -> Done:
    """Puts weights and running statistics into it."""
    state.session(request.session).load(read_arrays(request.arrays))
    return Done()


def upload(request: UploadRequest, state: WorkerState) -> Done:
    """Keeps inputs as operands."""
    state.session(request.session).upload(request.name, read_arrays(request.batch))
    return Done()


def calls(request: CallsRequest, state: WorkerState) -> CallsReply:
    """Calls it."""
    found = state.session(request.session).run(request.name, request.calls)
    write_arrays(request.output, joined({"outputs": found.result.outputs, "state": found.result.state}))
    return CallsReply(digests=found.digests, deviation=dict(found.deviation))


def overwrite(request: OverwriteRequest, state: WorkerState) -> AnswerReply:
    """Puts other values behind the same operands."""
    return AnswerReply(done=state.session(request.session).overwrite(request.name, request.source))


def held(request: HeldRequest, state: WorkerState) -> AnswerReply:
    """Reads its arrays back."""
    arrays = state.session(request.session).held()
    if arrays is not None:
        write_arrays(request.output, arrays)
    return AnswerReply(done=arrays is not None)


def close_session(request: CloseSessionRequest, state: WorkerState) -> Done:
    """Frees it."""
    kept = state.sessions.pop(request.session, None)
    if kept is not None:
        kept.close()
    return Done()
