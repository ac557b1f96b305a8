"""What is left to do, and the processes that do it, each bounded in time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from networks import NEEDED, Listed
from rows import EXPORTERS, Row

from cnnbench.measurement.kept_rows import KeptRows

MANY = 10  # networks of a process, which takes seconds to import a framework
MARK = "ROW "

Task = tuple[str, list[tuple[str, str]]]
"""A network's name, and the exporters and batches of which files are wanted."""


class Limits(NamedTuple):
    """What a process may take. Args: file_s: for one file, its network's making counted in with the first."""

    file_s: float
    memory_bytes: float

    @property
    def too_much(self) -> tuple[str, str]:
        """The result of a file that takes too much memory."""
        return "left out", f"exporting and reading take more than {self.memory_bytes / 2**30:.0f} GiB of memory"


def kept_rows(output: Path, name: str = "rows") -> KeptRows:
    """A file of rows in the folder, which belong to this code and the packages that are here."""
    packages = sorted({package for needed in NEEDED.values() for package in needed})
    return KeptRows.of(output / f"{name}.jsonl", *sorted(Path(__file__).parent.glob("*.py")), packages=packages)


def names_of(output: Path, source: str) -> list[Listed]:
    """The source's networks, listed once by a process of its own and kept; none where a package is missing."""
    if missing := [package for package in NEEDED[source] if find_spec(package) is None]:
        print(f"{source} is left out: it needs {', '.join(missing)}", file=sys.stderr)
        return []
    kept = kept_rows(output, source)
    found = [Listed(**row) for row in kept.read()]
    if not found:
        done = subprocess.run([sys.executable, _program(), "names", source], capture_output=True, text=True)
        if done.returncode:
            print(f"{source} is left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return []
        text = next(line[len(MARK) :] for line in done.stdout.splitlines() if line.startswith(MARK))
        found = [Listed(*item) for item in json.loads(text)]
        for item in found:
            kept.append(item._asdict())
    return found


def left_of(output: Path, source: str, rows: Sequence[Row], pairs: Sequence[tuple[str, str]]) -> list[Task]:
    """The networks of a source with the files of which there is no row.

    Args:
        output: The folder in which the source's networks are listed.
        source: One of ``SOURCES``.
        rows: That are there.
        pairs: The exporters and batches that are asked for.
    """
    done = {row[:4] for row in rows}
    pairs = [pair for pair in pairs if pair[0] in EXPORTERS[source]]
    tasks = [
        (item.name, [pair for pair in pairs if (source, item.name, *pair) not in done])
        for item in names_of(output, source)
    ]
    return [task for task in tasks if task[1]]


def done(source: str, tasks: Sequence[Task], limits: Limits) -> Iterator[Row]:
    """The tasks' rows, from processes that handle many; one that crashes, hangs or grows too large is replaced."""
    left = [(name, pair) for name, pairs in tasks for pair in pairs]
    while left:
        some = _next(left)
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, _program(), "many", source, json.dumps(some)],
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
            watch = Watch(process, limits)
            found = 0
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(MARK):
                    watch.begun_s = time.monotonic()
                    left.pop(0)
                    found += 1
                    yield Row(*json.loads(line[len(MARK) :]))
            process.wait()
            if found < sum(len(pairs) for _, pairs in some):
                if (
                    watch.killed == limits.too_much and found
                ):  # what the networks before it have left is no fault of its own
                    continue
                errors.seek(0)
                said = errors.read().strip().splitlines() or [f"the process ended with {process.returncode}"]
                name, pair = left.pop(0)
                yield Row(source, name, *pair, *(watch.killed or ("not built", said[-1][:400])))


def _next(left: Sequence[tuple[str, tuple[str, str]]]) -> list[Task]:
    tasks: dict[str, list[tuple[str, str]]] = {}
    for name, pair in left:
        if name not in tasks and len(tasks) == MANY:
            break
        tasks.setdefault(name, []).append(pair)
    return list(tasks.items())


class Watch:
    """Ends a process that takes too long for a file, or too much memory; ``killed`` says which."""

    def __init__(self, process: subprocess.Popen[str], limits: Limits) -> None:
        self._process, self._limits = process, limits
        self.begun_s = time.monotonic()
        self.killed: tuple[str, str] | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self._process.poll() is None:
            if time.monotonic() - self.begun_s > self._limits.file_s:
                self._kill("too slow", f"over {self._limits.file_s:.0f} s")
            elif _resident_bytes(self._process.pid) > self._limits.memory_bytes:
                self._kill(*self._limits.too_much)
            time.sleep(0.5)

    def _kill(self, *why: str) -> None:
        self.killed = (why[0], why[1])
        self._process.kill()
        self._process.wait()


def _resident_bytes(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _program() -> str:
    return str(Path(__file__).parent)
