"""Runs command lines in forks of one process that has imported everything: many commands in little time."""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FULL, CLOSED, UNREAD = "/dev/full", "closed", "unread"  # where a standard stream may lead instead of to a file


class ForkedCommands:
    """Gives each command its streams, its folder and its environment; plugins are imported by the fork alone."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        arguments: list[str],
        *,
        streams: tuple[str, str] = ("stdout", "stderr"),
        encoding: str = "utf-8",
        bound: bool = False,
        folder: Path | None = None,
        **environment: str,
    ) -> tuple[int, bytes, bytes]:
        """The exit code, standard output and standard error.

        Args:
            arguments: The command line.
            streams: Where both lead: files, ``FULL``, ``CLOSED``, or ``UNREAD``: a pipe without reader.
            encoding: Of both.
            bound: Permissions bind the command even where root runs it.
            folder: In which it runs; that of all commands unless given.
            environment: What is set for it.
        """
        files = [self._folder / name for name in ("stdout", "stderr")]
        for path in files:
            path.write_bytes(b"")
        leading = [str(self._folder / name) if name in ("stdout", "stderr") else name for name in streams]
        asked = {"arguments": arguments, "streams": leading, "encoding": encoding, "bound": bound}
        asked |= {"environment": environment, "folder": str(folder or self._folder)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        out, err = (path.read_bytes() for path in files)
        return code, out, err

    def shown(self, arguments: list[str], columns: int) -> list[str]:
        """The lines that a command shows on a terminal of so many columns, without colours."""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        blocks: list[bytes] = []
        reader = threading.Thread(target=_read_all, args=(ours, blocks))
        reader.start()
        self.run(arguments, streams=(os.ttyname(theirs), os.devnull), TERM="xterm-256color")
        os.close(theirs)
        reader.join()
        os.close(ours)
        text = b"".join(blocks).decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "").splitlines()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


def serve() -> None:
    """Forks for each line; the child leaves this function and ends as the command does."""
    import matplotlib.figure  # noqa: F401 - what most commands import is imported once
    import numpy  # noqa: F401
    import pydantic  # noqa: F401
    import scipy.stats  # noqa: F401

    import cnnbench.cli.application
    import cnnbench.face.running
    import cnnbench.output.reports  # noqa: F401

    replies = os.fdopen(os.dup(1), "w", buffering=1)
    gc.freeze()  # else each fork copies all of this when it ends
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
    os.chdir(asked["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in zip((1, 2), asked["streams"], strict=True):
        _lead(descriptor, name)
    for descriptor, name in zip((1, 2), asked["streams"], strict=True):
        if name == CLOSED:
            os.close(descriptor)
    encoding = asked["encoding"]
    closed = [name == CLOSED for name in asked["streams"]]
    sys.stdout = sys.__stdout__ = None if closed[0] else os.fdopen(1, "w", encoding=encoding, closefd=False)
    how = {"encoding": encoding, "errors": "replace", "closefd": False}
    sys.stderr = sys.__stderr__ = None if closed[1] else os.fdopen(2, "w", **how)
    if asked["bound"]:
        _obey_permissions()
    sys.argv = ["cnnbench", *asked["arguments"]]


def _lead(descriptor: int, name: str) -> None:
    """Lets a standard stream lead to where ``run`` says."""
    if name == CLOSED:
        return  # later: its number would be taken by what is opened next
    if name == UNREAD:
        reader, target = os.pipe()
        os.close(reader)
    else:
        target = os.open(name, os.O_WRONLY)
    os.dup2(target, descriptor)
    os.close(target)


def _read_all(descriptor: int, blocks: list[bytes]) -> None:
    try:
        while block := os.read(descriptor, 65536):
            blocks.append(block)
    except OSError:  # the last process that held the terminal has ended
        pass


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
