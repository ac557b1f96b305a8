"""Broken plugins, damaged files and folders that cannot be written: said in one message, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked_commands import ForkedCommands
from real_command import Ended

DAMAGE = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: b"",
    "zeros": lambda text: b"\0" * len(text),
    "binary": lambda text: os.urandom(len(text)),
    "nested": lambda text: b"[" * 100_000,
    "list": lambda text: b"[1, 2, 3]",
    "other_version": lambda text: text.replace(b'"schema_version"', b'"schema_v"'),
}
PLUGINS = {  # entry point's value: its module's source
    "missing_module": None,
    "broken_syntax": "def (:\n",
    "raises_at_import": "raise ValueError('not today')\n",
    "exits_at_import": "import sys\nsys.exit(3)\n",
    "unknown_hook": (
        "from cnnbench.hookspecs import hookimpl\n@hookimpl\ndef cnnbench_backends(speed):\n    return []\n"
    ),
    "raises_in_hook": (
        "from cnnbench.hookspecs import hookimpl\n@hookimpl\ndef cnnbench_backends():\n    raise ValueError('no')\n"
    ),
    "raises_in_recorder": (
        "from cnnbench.hookspecs import hookimpl\n"
        "class Recorder:\n"
        "    started = recorded = finished = lambda self, *_: 1 / 0\n"
        "@hookimpl\ndef cnnbench_recorders():\n    return {'raises_in_recorder': Recorder()}\n"
    ),
    "exits_in_metric": (
        "import sys\nfrom cnnbench.hookspecs import hookimpl\nfrom cnnbench.harness.run.extensions import Metric\n"
        "@hookimpl\ndef cnnbench_metrics():\n    return [Metric('exits_in_metric', 'x', lambda record: sys.exit(1))]\n"
    ),
    "exits_when_run_started": (
        "import sys\nfrom cnnbench.hookspecs import hookimpl\n"
        "@hookimpl\ndef cnnbench_run_started(run):\n    sys.exit(1)\n"
    ),
    "gives_nonsense": (
        "from cnnbench.hookspecs import hookimpl\n@hookimpl\ndef cnnbench_backends():\n    return [42]\n"
    ),
}


def _run_beside(command, *plugins: str) -> None:
    """Runs a suite where these are installed: each is named and left out, and the other backends run."""
    site = command.folder / "site"
    for plugin in plugins:
        info = site / f"{plugin}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {plugin}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[cnnbench]\n{plugin} = {plugin}\n")
        if PLUGINS[plugin] is not None:
            (site / f"{plugin}.py").write_text(PLUGINS[plugin])
    command.paths = (str(site), *command.paths)
    command.suite("good")
    ended = command.run("run", "suite.yaml", "--no-mlflow")
    assert ended.code == 0, ended.text
    assert "Traceback" not in ended.stderr
    for plugin in plugins:
        assert plugin in ended.stderr
    assert command.statuses() == {"good": "ok"}


def test_broken_entry_points(command):
    _run_beside(command, *PLUGINS)


@pytest.mark.slow
@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_broken_entry_point(command, plugin):
    _run_beside(command, plugin)


def _run_once(command):
    command.suite("good", "slow")
    ended = command.run("run", "suite.yaml", "--no-mlflow")
    assert ended.code == 0, ended.text
    return command.runs()[-1]


@pytest.fixture(scope="module")
def finished(shared_command):
    """A finished run, copied for each damage."""
    _run_once(shared_command)
    return shared_command


@pytest.fixture(scope="module")
def quick(finished):
    """Runs a command where that run lies, in a fork of a process that has imported what it needs."""
    forks = ForkedCommands(finished.folder, finished.environment())

    def run(*arguments: str, folder: Path | None = None) -> Ended:
        code, out, err = forks.run([*arguments], folder=folder)
        return Ended(code, out.decode(), err.decode(), 0.0)

    yield run
    forks.close()


def _copied(finished, tmp_path: Path) -> Path:
    target = tmp_path / "run"
    subprocess.run(["cp", "-r", str(finished.runs()[-1]), str(target)], check=True)
    return target


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_corrupt_record(finished, quick, tmp_path, damage):
    """The cell counts as not run: reports say so, and a resumed run writes it again without measuring the other."""
    folder = _copied(finished, tmp_path)
    path = next(folder.glob("cells/*good*/record.json"))
    other = next(folder.glob("cells/*slow*/record.json"))
    kept = other.read_bytes()
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    reported = quick("report", str(folder))
    assert reported.code == 5, reported.text
    assert "no readable record of" in reported.stderr
    assert "counts as not run" in (folder / "report.md").read_text()
    resumed = quick("run", "--resume", str(folder), "--no-mlflow")
    assert resumed.code == 0, resumed.text
    assert finished.statuses(folder) == {"good": "ok", "slow": "ok"}
    assert other.read_bytes() == kept


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["plan.json", "environment.json", "summary.json"])
def test_a_corrupt_file_of_a_run(finished, quick, tmp_path, name, damage):
    """One message and exit code 2, or a run that goes on; never a traceback."""
    folder = _copied(finished, tmp_path)
    path = folder / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    ended = quick("report", str(folder))
    assert ended.code in (0, 2), ended.text
    assert "Traceback" not in ended.stderr
    if ended.code:
        assert name in ended.stderr


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_corrupt_baseline(finished, quick, tmp_path, damage):
    folder, baseline = _copied(finished, tmp_path), tmp_path / "baseline.json"
    made = quick("baseline", "set", str(folder), "--baselines", str(tmp_path / "baselines"))
    assert made.code == 0, made.text
    (written,) = (tmp_path / "baselines").glob("*.json")
    baseline.write_bytes(DAMAGE[damage](written.read_bytes()))
    ended = quick("gate", str(folder), "--baseline", str(baseline))
    assert ended.code == 2, ended.text
    assert "Traceback" not in ended.stderr
    assert "baseline.json" in ended.stderr


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_corrupt_suite(command, quick, damage):
    path = command.folder / command.suite("good")
    text = path.read_bytes()
    path.write_bytes(DAMAGE[damage](text))
    ended = quick("run", "suite.yaml", "--no-mlflow", folder=command.folder)
    assert ended.code == 2, ended.text
    assert "suite.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not command.runs()


def _in_small_disk(size: str) -> tuple[str, ...]:
    """Runs a command with a tmpfs of that size on ``reports``, in a mount namespace of its own."""
    script = f'mount -t tmpfs -o size={size} none reports && shift && "$@"; code=$?; cp -r reports kept; exit $code'
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", "--")


def _may_mount(folder: Path) -> bool:
    (folder / "reports").mkdir(exist_ok=True)
    return subprocess.run([*_in_small_disk("1m"), "true"], cwd=folder, capture_output=True, check=False).returncode == 0


def test_a_full_disk(command):
    """A tmpfs too small for the records: one message, exit code 130; what fits is whole, and the run can be resumed."""
    if not _may_mount(command.folder):
        pytest.skip("this user may not mount a tmpfs, not even in a namespace of its own")
    subprocess.run(["rm", "-r", str(command.folder / "kept")], check=True)
    command.suite("good", "slow", "garbage", "forged")
    ended = command.run("run", "suite.yaml", "--no-mlflow", wrap=_in_small_disk("48k"))
    assert ended.code == 130, ended.text
    assert "No space left on device" in ended.stderr
    assert "--resume" in ended.stderr
    assert "Traceback" not in ended.stderr
    (folder,) = (command.folder / "kept" / "runs").glob("*/*")
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    assert not list(folder.rglob(".record*"))
    assert not command.orphans()
    resumed = command.run("run", "--resume", str(folder), "--no-mlflow")
    assert resumed.code == 0, resumed.text
    assert set(command.statuses(folder).values()) == {"ok"}
    assert len(command.statuses(folder)) == 4


def test_a_limit_on_the_size_of_files(command):
    """As a quota does, the kernel refuses to let a file grow; every machine can try this one."""
    limiting = (
        "import os, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    command.suite("good")
    ended = command.run("run", "suite.yaml", "--no-mlflow", wrap=(sys.executable, "-c", limiting))
    assert ended.code == 130, ended.text
    assert "File too large" in ended.stderr
    assert "Traceback" not in ended.stderr


@contextlib.contextmanager
def _unprivileged(folder: Path):
    """Words before a command that take root's leave to write anywhere; () for other users."""
    if os.geteuid() != 0:
        yield ()
        return
    yield ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")


@pytest.mark.parametrize("where", ["reports", "."])
def test_a_read_only_directory(command, where):
    """Nothing can be kept there: exit code 2 before anything is measured."""
    command.suite("good")
    target = command.folder / where
    target.mkdir(exist_ok=True)
    target.chmod(0o555)
    try:
        with _unprivileged(command.folder) as wrap:
            ended = command.run("run", "suite.yaml", "--no-mlflow", wrap=wrap)
    finally:
        target.chmod(0o755)
    assert ended.code == 2, ended.text
    assert "Permission denied" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_that_becomes_read_only(command):
    """After the first record: what is there is kept, exit code 130, and the run can be resumed."""
    (command.folder / "closes.py").write_text(
        "from pathlib import Path\n"
        "from cnnbench.hookspecs import hookimpl\n"
        "@hookimpl\n"
        "def cnnbench_run_started(run):\n"
        "    if not Path('closed').exists():\n"
        "        Path('closed').write_text('')\n"
        "        (run.folder / 'cells').chmod(0o555)\n"
    )
    command.paths = (str(command.folder), *command.paths)
    command.plugins = "perilous_backend,closes"
    command.suite("good", "slow")
    with _unprivileged(command.folder) as wrap:
        ended = command.run("run", "suite.yaml", "--no-mlflow", wrap=wrap)
    assert ended.code == 130, ended.text
    assert "Permission denied" in ended.stderr
    folder = command.runs()[-1]
    (folder / "cells").chmod(0o755)
    assert command.run("run", "--resume", str(folder), "--no-mlflow").code == 0
    assert command.statuses(folder) == {"good": "ok", "slow": "ok"}
    assert not command.orphans()


def test_a_full_folder_for_scratch_files(command):
    """Cells whose weights and inputs do not fit end with their reason; that is no defect."""
    if not _may_mount(command.folder):
        pytest.skip("this user may not mount a tmpfs, not even in a namespace of its own")
    (command.folder / "scratch").mkdir()
    script = 'mount -t tmpfs -o size=16k none scratch && shift && "$@"'
    wrap = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", "--")
    command.suite("good")
    ended = command.run("run", "suite.yaml", "--no-mlflow", wrap=wrap, TMPDIR=str(command.folder / "scratch"))
    assert ended.code == 3, ended.text
    assert command.statuses() == {"good": "error"}
    assert "No space left on device" in command.records()["perilous good"]["reason"]
    assert "Traceback" not in ended.stderr
