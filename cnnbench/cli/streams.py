"""The standard streams of a command: standard output is kept for results, and no stream that fails ends a command."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from cnnbench.addresses import without_secrets

_STANDARD = ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY))


class LastingWriter(io.RawIOBase):
    """Writes to a descriptor while that goes well, and drops what comes after; ``failure`` says what went wrong."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        while self.failure is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # whoever gave us the descriptor made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return size


class Stream(io.TextIOWrapper):
    """Text to a descriptor, line by line, without secrets. What the encoding does not have becomes a question mark."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self.writer = LastingWriter(descriptor)
        super().__init__(io.BufferedWriter(self.writer), encoding=encoding, errors="replace", line_buffering=True)

    def write(self, text: str) -> int:
        super().write(without_secrets(text))
        return len(text)


_results: TextIO | None = None  # where results go while standard output is reserved


def results() -> TextIO:
    """The standard output of the command."""
    return _results if _results is not None else sys.stdout


def take_over() -> None:
    """Gives this process its streams, to its end.

    A descriptor that was closed leads nowhere, so that no file that is opened later can take its place. Whatever
    writes to descriptor 1 (native code, a process that is started) writes to standard error from now on.
    """
    global _results
    for descriptor, mode in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)
    encodings = [getattr(stream, "encoding", None) or "utf-8" for stream in (sys.stdout, sys.stderr)]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    sys.stdin = sys.stdin or io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout = _results = Stream(os.dup(1), encodings[0])
    sys.stderr = Stream(2, encodings[1])
    os.dup2(2, 1)


def give_back() -> OSError | None:
    """Writes what is left; what went wrong on standard output, unless its reader only had enough of it."""
    for stream in (results(), sys.stdout, sys.stderr):
        stream.flush()
    sys.stdout = sys.stderr  # for what prints while the interpreter ends
    failure = getattr(getattr(results(), "writer", None), "failure", None)
    return None if failure is None or failure.errno == errno.EPIPE else failure


@contextmanager
def reserved() -> Iterator[None]:
    """Within it, only what is written to ``results()`` reaches standard output; all else goes to standard error."""
    global _results
    before, kept = sys.stdout, _results
    if before is sys.stderr and kept is not None:
        yield
        return
    if kept is not None:  # this process has taken its streams over
        sys.stdout = sys.stderr
        yield
        return
    with _descriptor_kept(before) as _results:
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            _results.flush()
            sys.stdout, _results = before, None


@contextmanager
def _descriptor_kept(stream: TextIO) -> Iterator[TextIO]:
    """A stream to where ``stream`` leads, whose descriptor leads to standard error meanwhile; itself without one."""
    stream.flush()
    try:
        descriptor, target = stream.fileno(), sys.stderr.fileno()
    except (OSError, ValueError):  # captured, as in a notebook
        yield stream
        return
    kept = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        yield Stream(kept, stream.encoding)
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
