"""Runs the real ``cnnbench`` in a folder of its own, and tells what became of it and of its processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TAG = "CNNBENCH_TEST_RUN"
LATENCY = {"launches": 1, "rounds": 2, "samples": 3, "max_round_s": 0.2, "warmup": {"max_s": 0.5, "max_calls": 6}}


def suite_fields(modes: tuple[str, ...], backend: str = "perilous", **changes: Any) -> dict[str, Any]:
    """A suite of one small network; JSON is YAML too."""
    return {
        "schema_version": 1,
        "name": "survival",
        "matrix": {
            "architectures": ["simple_cnn"],
            "image": [[1, 8, 8]],
            "num_classes": 10,
            "backends": [{"name": backend, "mode": list(modes)}],
        },
        "checks": {"names": []},
        "measure": {"latency": LATENCY, "memory": False, "yardsticks": False},
        "timeouts": {"compile_s": 20.0, "call_s": 20.0, "start_s": 60.0},
    } | changes


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


def _interruptible() -> None:
    """A job in the background, as tests may be, ignores Ctrl-C, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class RealCommand:
    """The command in one folder: what it starts carries a tag by which it is found again."""

    folder: Path
    plugins: str = "perilous_backend"
    paths: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    tag: str = field(default_factory=lambda: uuid.uuid4().hex)

    def environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [*self.paths, os.environ.get("PYTHONPATH", "")]))
        own = {"PYTHONPATH": path, "CNNBENCH_PLUGINS": self.plugins, TAG: self.tag, "MLFLOW_TRACKING_URI": ""}
        return {**os.environ, **own, **self.extra, **more}

    def suite(self, *modes: str, name: str = "suite.yaml", **changes: Any) -> str:
        (self.folder / name).write_text(json.dumps(suite_fields(modes, **changes), indent=1))
        return name

    def start(self, *arguments: str, wrap: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*wrap, sys.executable, "-m", "cnnbench", *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=_interruptible,
        )

    def run(self, *arguments: str, timeout_s: float = 200, wrap: tuple[str, ...] = (), **environment: str) -> Ended:
        start = time.monotonic()
        process = self.start(*arguments, wrap=wrap, **environment)
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return Ended(process.returncode, stdout, stderr, time.monotonic() - start)

    def runs(self) -> list[Path]:
        """Folders of runs, oldest first."""
        return sorted((self.folder / "reports" / "runs").glob("*/*"), key=lambda path: path.name)

    def records(self, run: Path | None = None) -> dict[str, dict[str, Any]]:
        """Records of a run (the only one unless given) by ``backend mode``."""
        folder = run or self.runs()[-1]
        found = [json.loads(path.read_text()) for path in folder.glob("cells/*/record.json")]
        return {f"{item['cell']['backend']} {item['cell']['mode']}": item for item in found}

    def statuses(self, run: Path | None = None) -> dict[str, str]:
        return {name.partition(" ")[2]: item["status"] for name, item in self.records(run).items()}

    def summary(self, run: Path | None = None) -> dict[str, Any]:
        return json.loads(((run or self.runs()[-1]) / "summary.json").read_text())

    def log(self, record: dict[str, Any], run: Path | None = None) -> str:
        return ((run or self.runs()[-1]) / "cells" / record["cell"]["id"] / "stderr.log").read_text()

    def living(self) -> list[int]:
        """Processes that this command started and that live."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and f"{TAG}={self.tag}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def orphans(self, patience_s: float = 30.0) -> list[int]:
        """What still lives some seconds after the end."""
        end = time.monotonic() + patience_s
        while (found := self.living()) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def clear(self) -> None:
        """Ends what lives."""
        for pid in self.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class PeakMemory:
    """The high-water mark of a process's resident memory, read until it ends."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._status = Path(f"/proc/{pid}/status")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            try:
                text = self._status.read_text()
            except OSError:
                return
            line = next((line for line in text.splitlines() if line.startswith("VmHWM")), None)
            if line is None:
                return
            self.peak_bytes = int(line.split()[1]) * 1024
            time.sleep(0.02)


def wait_for(condition: Any, limit_s: float = 60.0) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + limit_s
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return bool(found)
