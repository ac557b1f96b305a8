"""What two interpreters report of themselves, without processes: what differs, what one of them lacks."""

from __future__ import annotations

import sys

import pytest
from fake_worker import Answer, FakeWorkers

from cnnbench.errors import SuiteError
from cnnbench.harness.worker.errors import ProtocolError
from cnnbench.harness.worker.protocol.setup import EnvironmentReply, EnvironmentRequest, GitCheckout
from cnnbench.harness.worker.sides import TwoSides, ask, interpreters_of

REPLY = EnvironmentReply(
    python="3.12.1",
    implementation="CPython",
    executable="/venv/bin/python",
    cnnbench="0.1.0",
    location="/src",
    git=GitCheckout(commit="abc", branch="main", modified=False),
    packages={"numpy": "2.4.0"},
    plugins={},
    distributions={"numpy": "2.4.0", "rich": "14"},
    backends={"numpy": None, "torch": "torch is not installed"},
)


def reporting(**changes):
    """An interpreter that reports so."""
    workers = FakeWorkers()
    workers.rule(EnvironmentRequest, Answer(reply=REPLY.model_copy(update=changes)))
    found = ask("base", sys.executable, start=workers)
    assert not workers.started[0].alive
    return found


def test_an_interpreter_reports_what_a_run_keeps_of_it():
    found = reporting()
    assert found.path == sys.executable
    assert found.reported["git"] == {"commit": "abc", "branch": "main", "modified": False}
    assert found.reported["packages"] == {"numpy": "2.4.0"}
    assert "distributions" not in found.reported
    environment = {"sides": {"base": found.reported, "head": {**found.reported, "path": "/other"}}}
    assert interpreters_of(environment) == {"base": sys.executable, "head": "/other"}


@pytest.mark.parametrize(
    "change",
    [
        {"distributions": {"numpy": "2.4.0", "rich": "15"}},
        {"python": "3.12.2"},
        {"git": GitCheckout(commit="abc", branch="main", modified=True)},
    ],
)
def test_any_difference_in_what_is_installed_shows(change):
    assert TwoSides(reporting(), reporting()).alike
    assert not TwoSides(reporting(), reporting(**change)).alike


def test_a_backend_that_one_side_lacks_cannot_be_compared():
    sides = TwoSides(reporting(backends={"numpy": None, "torch": "not installed"}), reporting(backends={"numpy": None}))
    assert sides.unavailable == {"numpy": None, "torch": "base: not installed"}
    turned = TwoSides(sides.head, sides.base)
    assert turned.unavailable["torch"] == f"base: {sys.executable} knows no backend 'torch'"


def test_another_protocol_is_refused_with_the_side_and_the_remedy():
    workers = FakeWorkers()
    workers.refuse(None, ProtocolError("another protocol", received="protocol 3", expected="protocol 4", remedy="do"))
    with pytest.raises(SuiteError, match="the base interpreter is refused: another protocol") as error:
        ask("base", sys.executable, start=workers)
    assert error.value.where == f"--base {sys.executable}"
    assert (error.value.received, error.value.expected, error.value.remedy) == ("protocol 3", "protocol 4", "do")


def test_a_folder_is_no_interpreter(tmp_path):
    with pytest.raises(SuiteError, match="no such interpreter") as error:
        ask("head", str(tmp_path))
    assert error.value.remedy == f"give its interpreter: {tmp_path / 'bin' / 'python'}"
