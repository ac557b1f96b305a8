"""Recorders, metrics and the hooks of a run: whoever goes wrong is named and left out, and no record is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from synthetic_run import synthetic_run

from cnnbench import registry
from cnnbench.harness.run.extensions import FinishedRun, Metric, StartedRun
from cnnbench.harness.run.hooks import RunHooks, offered_recorders
from cnnbench.hookspecs import hookimpl

RECORD = synthetic_run().records[0]
STARTED = StartedRun("id", Path("folder"), None, {})
FINISHED = FinishedRun("id", Path("folder"), None, {}, (RECORD,), None)


def fails(*_):
    raise ValueError("not today")


def ends(*_):
    sys.exit(3)


class Recorder:
    """Remembers its calls; does ``instead`` in one of them."""

    def __init__(self, method=None, instead=None):
        self.calls = []
        self.method, self.instead = method, instead

    def _called(self, method):
        self.calls.append(method)
        return self.instead() if method == self.method else None

    def started(self, run):
        self._called("started")

    def recorded(self, record, folder):
        self._called("recorded")

    def finished(self, run):
        return self._called("finished")


class Plugin:
    def __init__(self, **hooks):
        for hook, function in hooks.items():
            setattr(self, hook, hookimpl(function))


@pytest.fixture
def register():
    yield lambda name, **hooks: registry.plugin_manager().register(Plugin(**hooks), name)
    registry.forget_plugins()


@pytest.fixture
def go():
    """A run of one record with these recorders: the record with its metrics, the links and the notes."""

    def gone(**recorders):
        notes = []
        hooks = RunHooks(recorders, notes.append)
        hooks.started(STARTED)
        record = hooks.with_metrics(RECORD)
        hooks.recorded(record, Path("folder"))
        hooks.recorded(record, Path("folder"))
        return record, hooks.finished(FINISHED), notes

    return gone


@pytest.mark.parametrize("method", ["started", "recorded", "finished"])
@pytest.mark.parametrize(("instead", "reason"), [(fails, "ValueError: not today"), (ends, "SystemExit: 3")])
def test_a_recorder_that_goes_wrong_is_named_once_and_not_called_again(go, method, instead, reason):
    bad, good = Recorder(method, instead), Recorder("finished", lambda: {"here": "http://127.0.0.1"})
    _, links, notes = go(bad=bad, good=good)
    assert notes == [f"recorder 'bad' failed and is left out: {reason}"]
    assert bad.calls[-1] == method
    assert bad.calls.count(method) == 1
    assert good.calls == ["started", "recorded", "recorded", "finished"]
    assert links == {"here": "http://127.0.0.1"}


@pytest.mark.parametrize("given", [["a link"], {"here": None}, 42])
def test_links_of_another_type_are_refused(go, given):
    _, links, notes = go(bad=Recorder("finished", lambda: given))
    assert links == {}
    assert "recorder 'bad' failed and is left out: " in notes[0]


@pytest.mark.parametrize(
    ("compute", "reason"),
    [
        (fails, "ValueError: not today"),
        (ends, "SystemExit: 3"),
        (lambda record: "fast", "TypeError: 'fast' is no finite number"),
        (lambda record: float("nan"), "TypeError: nan is no finite number"),
        (lambda record: True, "TypeError: True is no finite number"),
    ],
)
def test_a_metric_that_goes_wrong_is_left_out_and_the_record_keeps_the_others(register, go, compute, reason):
    register("mine", cnnbench_metrics=lambda: [Metric("bad", "x", compute), Metric("good", "x", lambda record: 2)])
    record, _, notes = go()
    assert record.metrics["good"] == 2.0
    assert "bad" not in record.metrics
    assert record.model_copy(update={"metrics": {}}) == RECORD
    assert notes == [f"metric 'bad' failed and is left out: {reason}"]


def test_a_figure_that_a_record_does_not_have_is_left_out_in_silence(register, go):
    register("mine", cnnbench_metrics=lambda: [Metric("none", "x", lambda record: None)])
    record, _, notes = go()
    assert "none" not in record.metrics
    assert notes == []


@pytest.mark.parametrize("hook", ["cnnbench_run_started", "cnnbench_run_finished"])
@pytest.mark.parametrize(("function", "reason"), [(fails, "ValueError: not today"), (ends, "SystemExit: 3")])
def test_a_hook_of_the_run_that_goes_wrong_is_a_note_and_the_others_are_called(register, go, hook, function, reason):
    called = []
    register("good", **{hook: lambda run: called.append(run)})
    register("bad", **{hook: lambda run: function()})
    _, _, notes = go()
    assert called == [STARTED if hook == "cnnbench_run_started" else FINISHED]
    assert notes == [f"plugin 'bad' is broken and left out: {hook}: {reason}"]


def test_what_was_left_out_before_the_run_is_a_note_of_it(register, go, capsys):
    register("bad", cnnbench_architectures=fails)
    registry.architectures()
    _, _, notes = go()
    assert notes == ["plugin 'bad' is broken and left out: cnnbench_architectures: ValueError: not today"]


@pytest.mark.parametrize("given", [{"mine": object()}, {1: Recorder()}, [Recorder()], None])
def test_what_is_no_recorder_is_refused_and_the_shipped_ones_stay(register, given):
    register("bad", cnnbench_recorders=lambda: given)
    notes = []
    assert set(offered_recorders(notes.append)) == {"jsonl", "mlflow"}
    assert "plugin 'bad' is broken and left out: cnnbench_recorders: " in notes[0]
