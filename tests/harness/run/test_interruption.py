"""What signals do to a run: each raises once, ignored ones stay ignored, and handlers of others are left alone."""

from __future__ import annotations

import os
import signal
import threading

import pytest

import cnnbench
from cnnbench.harness.run import interruption
from cnnbench.harness.run.executors import LocalExecutor
from cnnbench.harness.run.interruption import interruptible
from cnnbench.harness.run.runner import RunInterrupted
from cnnbench.harness.run.store import RunStore

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SUITE = """\
schema_version: 1
name: stopped
matrix: {architectures: simple_cnn, image: [[1, 8, 8]], num_classes: 10, backends: numpy}
checks: []
measure: {latency: {launches: 1, rounds: 1, samples: 1}, memory: false, yardsticks: false}
"""


@pytest.fixture(autouse=True)
def handlers():
    """Whatever a test does, the handlers are those of before."""
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts_and_handlers_are_put_back(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_at_once_cuts_nothing_short_and_a_later_one_does(second: int, monkeypatch) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            os.kill(os.getpid(), second)
            done.append("written")
        monkeypatch.setattr(interruption, "GRACE_S", 0.0)
        os.kill(os.getpid(), second)
    assert done == ["written"]


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_ignored_or_handled_by_others_stays_so(number: int) -> None:
    heard = []
    for handler in (signal.SIG_IGN, lambda *given: heard.append(given[0])):
        signal.signal(number, handler)
        with interruptible():
            assert signal.getsignal(number) == handler
            os.kill(os.getpid(), number)
    assert heard == [number]


def test_another_thread_changes_no_handler() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def work() -> None:
        with interruptible():
            seen.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before


def test_a_caller_hears_of_an_interruption_once_all_is_written(tmp_path, monkeypatch) -> None:
    """A loop over suites in a notebook ends, too."""

    def stop(*given) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalExecutor, "execute", stop)
    (tmp_path / "suite.yaml").write_text(SUITE)
    with pytest.raises(KeyboardInterrupt) as caught:
        cnnbench.run(tmp_path / "suite.yaml", output=tmp_path / "runs")
    assert isinstance(caught.value, RunInterrupted)
    (folder,) = (tmp_path / "runs" / "stopped").iterdir()
    assert str(folder) in str(caught.value)
    assert RunStore(folder).read_summary().interrupted
    assert (folder / "report.html").exists()
