"""Ctrl-C at every stage, kill -9 at random moments: nothing is lost or measured twice, no worker is left."""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from real_command import LATENCY, wait_for

MEASURE = {"latency": {**LATENCY, "launches": 2}, "memory": True, "yardsticks": False}
TRAIN = {"architectures": ["simple_cnn"], "epochs": 1, "batch": 256}
STAGES = ("plan", "started", "load", "compile", "calls", "finished", "report")
QUICK = ("plan", "calls", "report")
SAMPLES = MEASURE["latency"]["launches"] * LATENCY["rounds"] * LATENCY["samples"]
KILLS = 50
ENDS_S = 60  # in which a command has to end, on a machine that does much else


def _suite(command, *modes: str, **changes):
    return command.suite(*modes, measure=MEASURE, **changes)


def _interrupt(process: subprocess.Popen, number: int = signal.SIGINT) -> str:
    """Strikes; gives stderr."""
    process.send_signal(number)
    try:
        _, stderr = process.communicate(timeout=ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _, stderr = process.communicate()
        raise AssertionError(f"it did not end: {stderr}") from None
    return stderr


def _kept(folder: Path) -> dict[str, bytes]:
    """Every finished part and record that is not to be made again."""
    found = {}
    for path in [*folder.glob("cells/*/parts/*.json"), *folder.glob("cells/*/record.json")]:
        content = path.read_bytes()
        if path.name != "record.json" or json.loads(content)["status"] == "ok":
            found[str(path.relative_to(folder))] = content
    return found


def _whole(command, folder: Path, modes: tuple[str, ...]) -> None:
    """Every cell is there, and every sample of it once."""
    assert command.statuses(folder) == dict.fromkeys(modes, "ok")
    for record in command.records(folder).values():
        lines = (folder / "cells" / record["cell"]["id"] / "samples.jsonl").read_text().splitlines()
        places = [tuple(json.loads(line)[key] for key in ("launch", "round", "index")) for line in lines]
        assert len(places) == len(set(places)) == record["latency"]["samples"] == SAMPLES
        assert record["memory"] is not None


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage in QUICK else pytest.mark.slow) for stage in STAGES]
)
def test_control_c(command, stage):
    """Exit code 130 without a traceback, no process left; --resume completes the run."""
    suite = _suite(command, "good", "slow")
    mark = command.folder / "mark"
    process = command.start("run", suite, "--no-mlflow", PERIL_MARK=str(mark), PERIL_STAGE=stage)
    assert wait_for(mark.exists), process.communicate(timeout=5)
    stderr = _interrupt(process)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert not command.orphans()
    if stage == "plan":
        assert stderr == "interrupted before the command was done\n"
        assert not command.runs()
        return
    (folder,) = command.runs()
    kept = _kept(folder)
    ended = command.run("run", "--resume", str(folder), "--no-mlflow")
    assert ended.code == 0, ended.text
    _whole(command, folder, ("good", "slow"))
    assert {name: (folder / name).read_bytes() for name in kept} == kept


@pytest.mark.parametrize(
    "word",
    ["checks", *(pytest.param(word, marks=pytest.mark.slow) for word in ("launch 2: round 1", "memory", "epoch"))],
)
def test_control_c_while_it_says(command, word):
    """As above, when the run tells of checks, of the second launch, of memory, of training."""
    train = {**TRAIN, "epochs": 3} if word == "epoch" else None
    checks = {"names": ["end_to_end", "determinism"] if word == "checks" else []}
    suite = _suite(command, "good", "slow", checks=checks, **({"train": train} if train else {}))
    process = command.start("run", suite, "--no-mlflow", "-v")
    seen = []
    for line in process.stderr:
        seen.append(line)
        if word in line:
            break
    stderr = _interrupt(process)
    assert process.returncode == 130, "".join(seen) + stderr
    assert "Traceback" not in stderr
    assert not command.orphans()
    (folder,) = command.runs()
    assert json.loads((folder / "summary.json").read_text())["interrupted"]
    ended = command.run("run", "--resume", str(folder), "--no-mlflow")
    assert ended.code == 0, ended.text
    _whole(command, folder, ("good", "slow"))


@pytest.mark.slow
def test_control_c_twice(command):
    """Impatience costs no record."""
    suite = _suite(command, "good", "slow")
    mark = command.folder / "mark"
    process = command.start("run", suite, "--no-mlflow", PERIL_MARK=str(mark), PERIL_STAGE="calls")
    assert wait_for(mark.exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    stderr = _interrupt(process)
    assert process.returncode in (130, -signal.SIGINT), stderr
    assert not command.orphans()
    assert command.run("run", "--resume", str(command.runs()[0]), "--no-mlflow").code == 0
    _whole(command, command.runs()[0], ("good", "slow"))


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),  # control-c is held above
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),  # and a closed terminal below
    ],
    ids=["int", "term", "hup"],
)
def test_one_signal_ends_a_command_of_several_suites(command, number):
    """Records and summary are written, scratch files are gone, and no other suite begins."""
    scratch = command.folder / "scratch"
    scratch.mkdir()
    suites = [_suite(command, "good", "slow", name=f"{name}.yaml") for name in ("one", "two")]
    mark = command.folder / "mark"
    process = command.start(
        "run", *suites, "--no-mlflow", PERIL_MARK=str(mark), PERIL_STAGE="calls", TMPDIR=str(scratch)
    )
    assert wait_for(mark.exists), process.communicate(timeout=5)
    stderr = _interrupt(process, number)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert not command.orphans()
    (folder,) = command.runs()
    assert command.summary(folder)["interrupted"]
    assert "interrupted" in command.statuses(folder).values()
    assert not [path.name for path in scratch.iterdir() if path.name.startswith("cnnbench-")]


def test_a_terminal_that_is_closed(command):
    """What can no longer be shown costs no record."""
    suite = _suite(command, "good", "slow")
    mark = command.folder / "mark"
    ours, theirs = os.openpty()
    environment = command.environment(PERIL_MARK=str(mark), PERIL_STAGE="calls")
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnbench", "run", suite, "--no-mlflow"],
        cwd=command.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    reader = threading.Thread(target=_drain, args=(ours, mark))
    reader.start()
    assert wait_for(mark.exists)
    reader.join()
    os.close(ours)  # the kernel sends SIGHUP, and nothing can be written any more
    process.wait(ENDS_S)
    assert not command.orphans()
    (folder,) = command.runs()
    assert command.summary(folder)["interrupted"]
    assert "interrupted" in command.statuses(folder).values()


def _drain(terminal: int, mark: Path) -> None:
    """Reads what the command shows until the mark is there."""
    while not mark.exists():
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 4096)


def test_control_c_while_the_interpreter_starts(command):
    """Whenever it comes, from the first import on: 130 or the signal itself, and no half-made run."""
    suite = _suite(command, "good")
    for delay_s in (0.02, 0.05, 0.1, 0.2, 0.4):
        process = command.start("run", suite, "--no-mlflow")
        time.sleep(delay_s)
        stderr = _interrupt(process)
        in_python = "cnnbench" not in stderr.replace(str(command.folder), "")  # its own start, which ends with 1
        assert process.returncode in (130, -signal.SIGINT) or (process.returncode == 1 and in_python), stderr
    assert not command.orphans()


def _killed_and_resumed(command, delay_s: float, modes: tuple[str, ...]) -> str:
    """One run killed after a while and resumed: what it had come to."""
    before = set(command.runs())
    process = command.start("run", "suite.yaml", "--no-mlflow")
    time.sleep(delay_s)
    process.kill()
    process.communicate()
    assert not command.orphans(), "a worker outlived its parent"
    made = [path for path in command.runs() if path not in before]
    if not made:
        return "no folder"
    (folder,) = made
    kept = _kept(folder)
    ended = command.run("run", "suite.yaml", "--resume", str(folder), "--no-mlflow")
    assert ended.code == 0, ended.text
    _whole(command, folder, modes)
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    records = sum(name.endswith("record.json") for name in kept)
    return f"{len(kept) - records} parts, {records} records"


def _kill_often(command, count: int, seed: int) -> list[str]:
    modes = ("good", "slow")
    _suite(command, *modes)
    start = time.monotonic()
    assert command.run("run", "suite.yaml", "--no-mlflow").code == 0
    whole_s = time.monotonic() - start
    generator = random.Random(seed)
    return [_killed_and_resumed(command, generator.uniform(0.1, 1.0) * whole_s, modes) for _ in range(count)]


@pytest.mark.timeout(900)
def test_one_kill(command):
    assert len(_kill_often(command, 1, seed=int.from_bytes(os.urandom(4)))) == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills(command):
    found = _kill_often(command, KILLS, seed=0)
    assert len(found) == KILLS
    assert len(set(found)) > 3, "the moments were all alike"


@pytest.mark.slow
def test_killed_between_any_two_writes_of_the_beginning(command):
    """A folder without a plan, or with a plan alone, is continued with the suite, or refused with what to do."""
    _suite(command, "good")
    assert command.run("run", "suite.yaml", "--no-mlflow").code == 0
    (made,) = command.runs()
    written = ("lock.json", "environment.json", "suite.resolved.yaml", "plan.json")
    for names in (written[:count] for count in range(len(written) + 1)):
        folder = made.parent / f"20990101T000000.000Z-{len(names)}"
        (folder / "cells").mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes((made / name).read_bytes())
        if "plan.json" not in names:
            refused = command.run("run", "--resume", str(folder), "--no-mlflow")
            assert refused.code == 2
            assert "start it anew" in refused.stderr
        ended = command.run("run", "suite.yaml", "--resume", str(folder), "--no-mlflow")
        assert ended.code == 0, ended.text
        _whole(command, folder, ("good",))
        environment = json.loads((folder / "environment.json").read_text())
        assert environment["python"]
        assert "another machine" not in ended.text
