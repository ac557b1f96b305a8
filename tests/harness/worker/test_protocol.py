"""Messages: each travels whole and unchanged, and what is not exactly its type is refused with the field's name."""

from __future__ import annotations

import hashlib
import io
import json
import math
import typing
from pathlib import Path

import pytest
from pydantic import ValidationError

from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.own_program import OwnProgram
from cnnbench.execution.precision import precision
from cnnbench.harness.worker import server
from cnnbench.harness.worker.errors import OutOfMemoryError, ProtocolError, RequestFailedError
from cnnbench.harness.worker.handlers.state import SIGN_OF_LIFE_S, WorkerState
from cnnbench.harness.worker.handlers.training import signs_of_life
from cnnbench.harness.worker.protocol import checks, claims, memory, programs, sessions, setup, timing, training
from cnnbench.harness.worker.protocol.messages import (
    LONGEST_LINE_BYTES,
    Message,
    ReportedError,
    encode,
    read_content,
    read_error,
    read_head,
)
from cnnbench.harness.worker.protocol.values import Carried, Deferred
from cnnbench.harness.worker.server import HANDLERS, REQUESTS, serve
from cnnbench.measurement.clock import ManualClock
from cnnbench.measurement.observation import Observation
from cnnbench.measurement.sampling import SampleSettings, WarmUp
from cnnbench.measurement.synchronization import FreshnessCheck, SynchronizationCheck
from cnnbench.measurement.turns import Turn
from cnnbench.registry import build
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import CrossEntropy, SmoothL1
from cnnbench.spec.optimizers import SGD
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.epoch import Epoch
from cnnbench.training.programs.offered import offered_program
from cnnbench.training.programs.program import TrainingProgram
from cnnbench.training.programs.runner import RoundSettings
from cnnbench.training.programs.sampling import Sampling, sampling_to_json
from cnnbench.training.programs.serialization import program_digest
from cnnbench.training.schedules import Step
from cnnbench.training.settings import TrainSettings
from cnnbench.training.steps import TrainingSteps
from cnnbench.training.target import Target

GRAPH = build("simple_cnn", image=(3, 8, 8), num_classes=4)
OWN = OwnProgram("/nets.py", "net", "eager", (3, 8, 8), "graph", "arrays", "weights", (False,), (True,), batch=2)
OPTIONS = ProgramOptions(
    mode="fast", precision=precision("bfloat16"), layout="channels_last", fold_batch_norm=True, own=OWN
)
SETTINGS = TrainSettings(
    image=(1, 8, 8),
    loss=CrossEntropy(label_smoothing=0.1),
    optimizer=SGD(momentum=0.5),
    schedule=Step(milestones=(1.0, 2.0)),
    augmentation=Augmentation(flip=True),
)
OBSERVED = Observation(1.0, 0.9, None, 2.0, 3, None, 0.5)
NETWORK = {"graph": GRAPH, "options": OPTIONS, "arrays": Path("/a")}
STEPS = TrainingSteps(SGD(nesterov=True), SmoothL1(beta=0.5), rates=(0.1, 0.05), held=7)
PROGRAM = {
    "program": offered_program("dcgan_tiny").build(),
    "options": OPTIONS,
    "arrays": Path("/a"),
    "settings": RoundSettings(batch=2, learning_rate=0.1, seed=3, data=(("a", "digits_a"),), train_images=7),
}
DIGESTS = {  # of values that are equal by content
    Graph: lambda graph: graph.digest,
    TrainingProgram: program_digest,
    Sampling: lambda sampling: json.dumps(sampling_to_json(sampling)),
}
REQUEST_EXAMPLES = [
    setup.HelloRequest(protocol=4),
    setup.EnvironmentRequest(),
    setup.LoadRequest(backend="numpy", settings=ProcessSettings(threads=2, device="cpu")),
    setup.ExitRequest(),
    timing.PrepareRequest(**NETWORK, cell="c", batch=Path("/b"), sampling=SampleSettings(samples=3)),
    timing.WarmUpRequest(cell="c"),
    timing.SynchronizationRequest(cell="c", call_s=0.5),
    timing.FeedRequest(cell="c", rows=((0, 1), (1, 2))),
    timing.SynchronizationRequest(cell="c", call_s=0.5, lots=(((0, 1), (1, 2)), ((2, 3),))),
    timing.SampleRequest(cell="c"),
    timing.CollectRequest(cell="c", output=Path("/o")),
    timing.BeginTurnsRequest(cell="c"),
    timing.TurnRequest(cell="c", samples=2),
    timing.EndTurnsRequest(cell="c"),
    timing.ReleaseRequest(cell="c"),
    timing.YardsticksRequest(),
    timing.MachineRatesRequest(storage="float32"),
    memory.NullMemoryRequest(precision="float32", mode="fast"),
    memory.PeakMemoryRequest(cell="c", calls=2),
    checks.ForwardRequest(**NETWORK, batch=Path("/b"), output=Path("/o")),
    checks.GradientRequest(**NETWORK, batch=Path("/b"), output=Path("/o"), loss=None),
    checks.StepsRequest(
        **NETWORK,
        batches=(Path("/b"), Path("/c")),
        outputs=(Path("/o"),),
        loss=SmoothL1(beta=0.5),
        optimizer=SGD(nesterov=True),
        learning_rates=(0.1, 0.05),
        reads=(1, 0),
        loads=((1, -1),),
        kept=(1,),
    ),
    checks.PrefetchRequest(**NETWORK, batch=Path("/b"), seed=1, training=STEPS, thorough=True, check="local"),
    sessions.OpenSessionRequest(session="s", graph=GRAPH, options=OPTIONS),
    sessions.OpenGradientRequest(session="s", graph=GRAPH, options=OPTIONS, loss=None),
    sessions.LoadArraysRequest(session="s", arrays=Path("/a")),
    sessions.UploadRequest(session="s", name="x", batch=Path("/b")),
    sessions.CallsRequest(session="s", name="x", calls=20, output=Path("/o")),
    sessions.OverwriteRequest(session="s", name="x", source="y"),
    sessions.HeldRequest(session="s", output=Path("/o")),
    sessions.CloseSessionRequest(session="s"),
    training.LossesRequest(**NETWORK, settings=SETTINGS, beside=(1.5, math.inf), most=7),
    training.CrossingsRequest(**NETWORK, settings=SETTINGS, exact=(1.5, 1.25)),
    training.TrainRequest(**NETWORK, settings=SETTINGS, final=Path("/f"), outputs=Path("/o")),
    training.EvaluateRequest(**NETWORK, settings=SETTINGS, images=(0, 5), outputs=Path("/o")),
    programs.RoundsRequest(**PROGRAM, rounds=2, output=Path("/o")),
    programs.PicturesRequest(
        sampling=PROGRAM["program"].sampling, options=OPTIONS, arrays=Path("/a"), count=5, seed=3, output=Path("/o")
    ),
    programs.TrainProgramRequest(**PROGRAM, rounds=100, final=Path("/f"), averages=Path("/e")),
    claims.ClaimRequest(name="toeplitz", mode="fast", seeds=3),
]
REPLY_EXAMPLES = [
    setup.Done(),
    setup.HelloReply(protocol=4, cnnbench="0.1", pid=1, python="3.12", executable="/python"),
    setup.EnvironmentReply(
        python="3.12",
        implementation="CPython",
        executable="/python",
        cnnbench="0.1",
        location="/x",
        git=setup.GitCheckout(commit="abc", branch=None, modified=True),
        packages={"numpy": "2"},
        plugins={},
        distributions={"numpy": "2"},
        backends={"numpy": None, "torch": "it is not installed"},
    ),
    setup.LoadReply(import_s=0.5, described={"blas": "none"}, versions={}, kinds=("conv", "relu")),
    timing.PrepareReply(build_s=0.1, weights_s=0.2, compile_s=None, first_call_s=0.3),
    timing.WarmUpReply(warm_up=WarmUp(5, 1.5, True, 0.25, 1)),
    timing.SynchronizationReply(
        check=SynchronizationCheck(True, 2.0, 0.0, 0.1, ""), fresh=FreshnessCheck(False, 0.2, 0.1, "kept")
    ),
    timing.CollectReply(
        inputs=(0,),
        deviation={"y": math.inf},
        num_read=2,
        calls=3,
        again=(False, True),
        used_s=(0.1, 0.2),
        idle_after_s=0.1,
    ),
    timing.SampleReply(samples_s=(0.1, 0.2), observed=OBSERVED, elapsed_s=0.4),
    timing.TurnReply(turn=Turn((0.1, 0.2), 0.3, 0.01)),
    timing.EndTurnsReply(observed=OBSERVED, used_s=0.5),
    timing.YardsticksReply(matrix_product_gflop_per_s=50.0, copy_gb_per_s=10.0),
    timing.MachineRatesReply(operations_per_s=1e11, copied_bytes_per_s=1e11),
    memory.NullMemoryReply(null_bytes=2**40),
    memory.PeakMemoryReply(peak_bytes=2**40, device_peak_bytes=None),
    checks.GradientReply(loss=0.5),
    checks.StepsReply(losses=(0.5, -math.inf)),
    sessions.CallsReply(digests=("0a", "0b"), deviation={"y": math.inf}),
    sessions.AnswerReply(done=False),
    training.CrossingsReply(moves=(0.0, 1e-6)),
    training.LossesReply(losses=(0.5, math.inf)),
    training.TrainReply(
        losses=(0.5,),
        predictions=(1, 2),
        targets=(1, 3),
        target=Target(metric="accuracy", value=0.9, epochs_to_target=2, time_to_target_s=1.5),
        peak_bytes=2**40,
        device_peak_bytes=None,
    ),
    programs.RoundsReply(taken=((0, "judge"), (0, "average"))),
    programs.TrainProgramReply(losses=(0.5, math.inf)),
    claims.ClaimReply(
        number=1,
        statement="It is so.",
        source="a book",
        conditions=("it rains",),
        trains=False,
        evidence=(claims.TriedFigure(what="a figure", values=(0.5, math.inf), least=0.0, most=None),),
        seconds=0.5,
        lack=None,
        verdict="undecided",
    ),
    training.EvaluateReply(predictions=(1, 2), leads=(0.5, math.inf), departures=(0.0, math.inf)),
]


def names(examples):
    return [type(example).__name__ for example in examples]


@pytest.mark.parametrize("request_", REQUEST_EXAMPLES, ids=names(REQUEST_EXAMPLES))
def test_a_request_arrives_as_it_was_sent(request_):
    line = encode(3, "parameters", request_, request_.method)
    assert line.count(b"\n") == 1
    number, data = read_head(line, "a request")
    assert number == 3
    found = server.read_request(line, data)
    assert type(found) is type(request_)
    for name in type(request_).model_fields:
        sent, came = getattr(request_, name), getattr(found, name)
        digest = DIGESTS.get(type(sent))
        assert (digest(came) == digest(sent)) if digest else (came == sent)


@pytest.mark.parametrize("reply", REPLY_EXAMPLES, ids=names(REPLY_EXAMPLES))
def test_a_reply_arrives_as_it_was_sent(reply):
    assert read_content(encode(3, "result", reply), "result", type(reply), "the reply") == reply


def shape(value):
    """What a message consists of: the names of its fields, and what stands in them, without the values."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


def test_another_shape_of_any_message_has_another_version():
    """Raise PROTOCOL and write the new digest here: the workers of another cnnbench could not read the messages."""
    shapes = {}
    for message in (*REQUEST_EXAMPLES, *REPLY_EXAMPLES):
        line = json.loads(encode(3, "parameters", message, "method"))
        fields = sorted(type(message).model_fields)
        shapes.setdefault(type(message).__name__, []).append([fields, shape(line["parameters"])])
    text = json.dumps(shapes, sort_keys=True)
    assert (setup.PROTOCOL, hashlib.sha256(text.encode()).hexdigest()[:16]) == (15, "a0fd8a538cb1c949")


def loose(annotation, metadata=()):
    """Whether a field may hold anything; a value whose class needs NumPy says in its metadata how it is checked."""
    if annotation is typing.Any or annotation is object:
        return not any(isinstance(item, Carried | Deferred) for item in metadata)
    return any(loose(part, getattr(annotation, "__metadata__", ())) for part in typing.get_args(annotation))


def kinds_of(kind):
    for sub in kind.__subclasses__():
        yield from (sub, *kinds_of(sub))


def test_no_field_of_a_message_may_hold_anything():
    kinds = {kind for kind in kinds_of(Message) if "Line" not in kind.__name__}
    assert len(kinds) > 60, "the search finds them"
    fields = [(kind, name, field) for kind in kinds for name, field in kind.model_fields.items()]
    assert not [(kind.__name__, name) for kind, name, field in fields if loose(field.annotation, field.metadata)]
    assert loose(dict[str, typing.Any])
    assert loose(tuple[object, ...] | None)


def test_a_loss_that_is_not_a_number_arrives_as_such():
    for reply, read in ((checks.GradientReply(loss=math.nan), lambda r: r.loss),):
        found = read_content(encode(1, "result", reply), "result", type(reply), "the reply")
        assert math.isnan(read(found))
    epoch = Epoch(epoch=1, step=2, train_loss=math.nan, test_loss=math.inf, test_accuracy=0.5, seconds=1.0)
    for event in (training.EpochEvent(epoch=epoch), training.StepEvent(step=1, loss=math.nan)):
        found = read_content(encode(1, "event", event), "event", training.Event, "an event")
        assert type(found) is type(event)
        assert found.model_dump_json() == event.model_dump_json()


def test_every_request_has_an_example_a_handler_and_the_reply_that_its_handler_gives():
    assert {type(example) for example in REQUEST_EXAMPLES} == set(HANDLERS)
    assert len(REQUESTS) == len(HANDLERS), "two requests share a name"
    assert {kind.reply for kind in HANDLERS} == {type(example) for example in REPLY_EXAMPLES}
    for kind, handler in HANDLERS.items():
        if handler.__name__ != "<lambda>":
            hints = typing.get_type_hints(handler)
            assert hints["request"] is kind
            assert hints["return"] is kind.reply


BAD_PARAMETERS = {
    "an unknown field": ({"cell": "c", "samples": 2, "more": 1}, "parameters.more", "not permitted"),
    "a missing field": ({"cell": "c"}, "parameters.samples", "required"),
    "a wrong type": ({"cell": "c", "samples": "2"}, "parameters.samples", "integer"),
    "a fraction": ({"cell": "c", "samples": 1.5}, "parameters.samples", "integer"),
    "out of range": ({"cell": "c", "samples": 0}, "parameters.samples", "greater than or equal to 1"),
    "no object": ([], "parameters", "object"),
}


class Raw(io.RawIOBase):
    """A pipe that takes ten bytes at once."""

    def __init__(self):
        self.data = b""

    def write(self, block):
        self.data += bytes(block[:10])
        return min(len(block), 10)


def served(*lines):
    """What a worker answers to lines, in JSON."""
    replies = Raw()
    serve(io.BytesIO(b"".join(lines)), replies)
    return [json.loads(line) for line in replies.data.splitlines()]


def line_of(parameters, method="turn", number=7):
    return json.dumps({"number": number, "method": method, "parameters": parameters}).encode() + b"\n"


@pytest.mark.parametrize("what", BAD_PARAMETERS)
def test_a_request_that_is_not_valid_is_answered_with_the_field_and_the_worker_lives_on(what):
    parameters, field, expected = BAD_PARAMETERS[what]
    bad, good = served(line_of(parameters), line_of({"protocol": 4}, "hello", 8))
    assert bad["number"] == 7
    assert bad["error"]["kind"] == "ProtocolError"
    assert field in bad["error"]["message"]
    assert expected in bad["error"]["message"]
    assert good["result"]["protocol"] == setup.PROTOCOL


@pytest.mark.parametrize("method", ["nonsense", "serve", "__init__", "_handlers", "", None, 3])
def test_a_request_of_no_known_name_is_answered_so(method):
    (found,) = served(line_of({}, method))
    assert "unknown request" in found["error"]["message"]


@pytest.mark.parametrize(
    "line",
    [b"garbage\n", b'{"number": 1\n', b"[]\n", b"\xff\xfe\n", b'{"method": "hello"}\n', b'{"number": "1"}\n', b"\n"],
)
def test_a_line_that_cannot_be_answered_ends_the_worker(line):
    with pytest.raises(ProtocolError):
        served(line)


def test_a_line_that_is_too_long_is_neither_read_nor_sent(monkeypatch):
    monkeypatch.setattr(server, "LONGEST_LINE_BYTES", 1000)
    with pytest.raises(ProtocolError, match="longer than 1000 bytes"):
        served(line_of({"cell": "c" * 1000, "samples": 1}))
    with pytest.raises(ProtocolError, match="too long"):
        encode(1, "parameters", timing.SampleRequest(cell="c" * LONGEST_LINE_BYTES), "sample")


def test_exit_is_answered_and_ends_the_service():
    assert served(line_of({}, "exit"), line_of({}, "nonsense")) == [{"number": 7, "result": {}}]


def test_values_are_checked_where_they_are_sent():
    with pytest.raises(ValidationError, match="finite"):
        timing.SynchronizationRequest(cell="c", call_s=math.nan)
    with pytest.raises(ValidationError, match="WarmUp: call_s is not valid"):
        timing.WarmUpReply(warm_up=WarmUp(5, 1.5, True, math.nan, 1))
    with pytest.raises(ValidationError, match="ProgramOptions: layout is not valid"):
        checks.ForwardRequest(
            graph=GRAPH,
            options=ProgramOptions(mode="fast", precision=precision("float32"), layout="sideways"),
            arrays=Path("/a"),
            batch=Path("/b"),
            output=Path("/o"),
        )


NESTED = {
    "graph": ("not a graph", {"name": "x"}),
    "options": ("no field 'more'", {"mode": "fast", "precision": "float32", "more": 1}),
    "settings": ("epochs is not valid", None),
}


@pytest.mark.parametrize("field", NESTED)
def test_nested_values_are_checked_where_they_arrive(field):
    expected, value = NESTED[field]
    request = training.TrainRequest(**NETWORK, settings=SETTINGS, final=Path("/f"), outputs=Path("/o"))
    data = json.loads(encode(7, "parameters", request, "train"))
    if value is None:
        data["parameters"]["settings"]["epochs"] = "three"
    else:
        data["parameters"][field] = value
    (found,) = served(json.dumps(data).encode() + b"\n")
    assert f"parameters.{field}" in found["error"]["message"]
    assert expected in found["error"]["message"]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ValueError("no such kernel \x00 \ud800"), RequestFailedError, "ValueError during 'sample': no such kernel"),
        (MemoryError("31 GiB"), OutOfMemoryError, "31 GiB"),
        (RuntimeError("CUDA error: out of memory"), OutOfMemoryError, "CUDA"),
        (RuntimeError("x" * 100_000), RequestFailedError, "x" * 100),
    ],
)
def test_an_exception_is_reported_in_text_that_can_be_written(error, kind, text):
    line = encode(1, "error", server.describe_error(error))
    assert len(line) < 10_000
    found = read_error(line, "the reply").as_error("sample")
    assert type(found) is kind
    assert text in found.message
    found.message.encode()


def test_an_error_names_its_kind():
    with pytest.raises(ProtocolError, match="is not valid"):
        read_error(b'{"number": 1, "error": "it failed"}\n', "the reply")
    assert ReportedError(kind="X", message="y", out_of_memory=False, unavailable=False).as_error("z").status == "error"


def test_a_sign_of_life_comes_at_most_once_in_its_time():
    time, sent = ManualClock(), []
    on_step = signs_of_life(WorkerState(emit=sent.append, clock=time.clock))
    for step in range(1, 11):
        time.advance(SIGN_OF_LIFE_S * 0.4)
        on_step(step, 0.5)
    assert [event.step for event in sent] == [3, 6, 9]
