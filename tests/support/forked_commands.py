"""Runs command lines in forks of one process that has imported everything: many commands in little time."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class ForkedCommands:
    """Gives each command its streams, its folder and its environment; plugins are imported by the fork alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, __file__], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self,
        arguments: list[str],
        *,
        broken: bool = False,
        encoding: str = "utf-8",
        bound: bool = False,
        **environment: str,
    ) -> tuple[int, bytes, bytes]:
        """The exit code, standard output and standard error.

        Args:
            arguments: The command line.
            broken: Both streams lead to a pipe that nobody reads.
            encoding: Of both.
            bound: Permissions bind the command even where root runs it.
            environment: What is set for it.
        """
        streams = [self._folder / name for name in ("stdout", "stderr")]
        for path in streams:
            path.write_bytes(b"")
        asked = {
            "arguments": arguments,
            "broken": broken,
            "encoding": encoding,
            "environment": environment,
            "bound": bound,
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        out, err = (path.read_bytes() for path in streams)
        return code, out, err

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


def serve() -> None:
    """Forks for each line; the child leaves this function and ends as the command does."""
    import numpy  # noqa: F401 - what most commands import is imported once
    import pydantic  # noqa: F401
    import scipy.stats  # noqa: F401

    import cnnbench.cli.application
    import cnnbench.face.running
    import cnnbench.output.reports  # noqa: F401

    replies = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            _become(asked)
            return
        replies.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
    os._exit(0)


def _become(asked: dict[str, Any]) -> None:
    os.environ.update(asked["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if asked["broken"]:
        reader, writer = os.pipe()
        os.close(reader)
        targets = (writer, writer)
    else:
        targets = tuple(os.open(name, os.O_WRONLY | os.O_TRUNC) for name in ("stdout", "stderr"))
    for descriptor, target in zip((1, 2), targets, strict=True):
        os.dup2(target, descriptor)
    encoding = asked["encoding"]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding=encoding, closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", encoding=encoding, errors="replace", closefd=False)
    if asked["bound"]:
        _obey_permissions()
    sys.argv = ["cnnbench", *asked["arguments"]]


def _obey_permissions() -> None:
    """Gives up what lets root write where the mode forbids it: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: the low words, then the high ones
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~0b110
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    serve()
    from cnnbench.cli import main

    main()
