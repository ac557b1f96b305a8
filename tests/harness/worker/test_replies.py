"""What a client makes of a worker that answers wrongly: it ends it, and says what came and what was expected."""

from __future__ import annotations

import sys

import pytest

from cnnbench.harness.worker import client
from cnnbench.harness.worker.client import WorkerClient
from cnnbench.harness.worker.errors import ProtocolError
from cnnbench.harness.worker.protocol.setup import PROTOCOL
from cnnbench.harness.worker.protocol.timing import SampleRequest
from cnnbench.harness.worker.specification import WorkerSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
STUB = """
import json, os, sys
requests, replies = os.fdopen(int(sys.argv[1]), "rb"), os.fdopen(int(sys.argv[2]), "wb", buffering=0)
hello = json.loads(requests.readline())
facts = {{"protocol": {protocol}, "cnnbench": "9", "pid": os.getpid(), "python": "3", "executable": "x"}}
replies.write(json.dumps({{"number": hello["number"], "result": facts}}).encode() + b"\\n")
requests.readline()
replies.write({answer!r} + b"\\n")
requests.readline()
"""
OBSERVED = (
    b'{"wall_s": 1.0, "processor_s": 1.0, "stolen_s": null, "machine_s": null, "involuntary_switches": null, '
    b'"frequency_hz": null, "foreign_s": null}'
)


def result(samples=b"[0.5]", more=b"", observed=OBSERVED, number=b"2"):
    more = b', "elapsed_s": 1.0' + more
    return b'{"number": %s, "result": {"samples_s": %s, "observed": %s%s}}' % (number, samples, observed, more)


@pytest.fixture
def answering(tmp_path):
    """Starts a worker that greets well and then gives the answer."""
    started = []

    def start(answer, protocol=PROTOCOL):
        (tmp_path / "stub.py").write_text(STUB.format(protocol=protocol, answer=answer))
        python = tmp_path / "python"  # called as: python -P -m MODULE READ WRITE ...
        python.write_text(f'#!/bin/sh\nshift 3\nexec "{sys.executable}" "{tmp_path}/stub.py" "$@"\n')
        python.chmod(0o755)
        started.append(WorkerClient(WorkerSpec(None, python=str(python))))
        return started[-1]

    yield start
    for worker in started:
        if worker.alive:
            worker.kill()


def asked(worker):
    return worker.ask(SampleRequest(cell="c"), timeout_s=30)


def test_a_right_answer_is_taken_and_a_late_one_before_it_is_passed_over(answering):
    assert asked(answering(result())).samples_s == (0.5,)
    late = b'{"number": 1, "result": {"of": "another time"}}\n'
    assert asked(answering(late + result())).samples_s == (0.5,)


WRONG = {
    "not JSON": (b"Segmentation fault", "is not JSON", "Segmentation fault"),
    "cut short": (b'{"number": 2, "result"', "is not JSON", "EOF"),
    "half a character": (b'{"number": 2, "result": "\\ud800"}', "is not JSON", "hex escape"),
    "a list": (b"[1, 2]", "is not valid", "an object"),
    "no number": (b'{"result": {}}', "has no number", "an integer"),
    "a number in quotes": (result(number=b'"2"'), "has no number", "'2'"),
    "a number to come": (result(number=b"3"), "wrong number", "expected: 2"),
    "nothing in it": (b'{"number": 2}', "is not valid", "required"),
    "an unknown field": (result(more=b', "warmth": 3'), "result.warmth", "not permitted"),
    "an unknown field beside": (result()[:-1] + b', "warmth": 3}', "warmth", "not permitted"),
    "a missing field": (b'{"number": 2, "result": {"samples_s": [1.0]}}', "result.observed", "required"),
    "a wrong type": (result(samples=b'["0.5"]'), "result.samples_s.0", "valid number"),
    "no list": (result(samples=b"0.5"), "result.samples_s", "array"),
    "NaN": (result(samples=b"[NaN]"), "result.samples_s.0", "finite"),
    "infinity": (result(samples=b"[1e999]"), "result.samples_s.0", "finite"),
    "a nested unknown field": (result(observed=OBSERVED[:-1] + b', "mood": 1}'), "result.observed", "'mood'"),
    "a nested missing field": (result(observed=b'{"wall_s": 1.0}'), "result.observed", "lacks processor_s"),
    "a nested wrong type": (
        result(observed=OBSERVED.replace(b'"wall_s": 1.0', b'"wall_s": "1"')),
        "result.observed",
        "wall_s is not valid",
    ),
    "an error that is text": (b'{"number": 2, "error": "it failed"}', "error", "it failed"),
    "an unknown event": (b'{"number": 2, "event": {"kind": "rumour"}}', "an event during 'sample'", "rumour"),
    "an event with a wrong field": (
        b'{"number": 2, "event": {"kind": "step", "step": "1", "loss": 0.5}}',
        "event.step.step",
        "integer",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_answer_ends_the_worker_and_says_what_came(answering, what):
    answer, place, detail = WRONG[what]
    worker = answering(answer)
    with pytest.raises(ProtocolError) as error:
        asked(worker)
    text = str(error.value)
    assert place in text
    assert detail in text
    assert "received:" in text
    assert "expected:" in text
    assert error.value.status == "crashed"
    assert not worker.alive
    assert not worker.folder.exists()


def test_an_answer_that_does_not_end_ends_the_worker(answering, monkeypatch):
    monkeypatch.setattr(client, "LONGEST_LINE_BYTES", 1000)
    worker = answering(b"x" * 2000)
    with pytest.raises(ProtocolError, match="longer than 1000 bytes"):
        asked(worker)
    assert not worker.alive


def test_another_protocol_is_refused_before_its_greeting_is_read_as_ours(answering):
    with pytest.raises(ProtocolError, match="another protocol") as error:
        answering(b"", protocol=PROTOCOL + 1)
    assert f"received: protocol {PROTOCOL + 1} of cnnbench 9" in str(error.value)
    assert f"expected: protocol {PROTOCOL}" in str(error.value)
    assert "remedy: install the same cnnbench" in str(error.value)


def test_an_exception_of_the_listener_is_its_own(answering):
    event = b'{"number": 2, "event": {"kind": "step", "step": 1, "loss": NaN}}\n'
    worker = answering(event + result())

    def listen(event):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        worker.ask(SampleRequest(cell="c"), timeout_s=30, on_event=listen)
    assert worker.alive
