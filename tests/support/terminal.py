"""Runs a command on a terminal of a given width and gives what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path


def shown_on_terminal(arguments: tuple[str, ...], columns: int, folder: Path, **environment: str) -> list[str]:
    """The lines of ``cnnbench ARGUMENTS``, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnbench", *arguments],
        cwd=folder,
        env={**os.environ, "TERM": "xterm-256color", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # the last process that held the terminal has ended
        pass
    finally:
        os.close(ours)
        process.wait(60)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode(errors="replace")).replace("\r", "").splitlines()
