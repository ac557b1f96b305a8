"""Scratch folders that name their owner, so that what a killed run left behind can be swept by the next."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

import psutil

_NAME = re.compile(r"cnnbench-(?:worker|material|bundle|oracle)-(\d+)-\w+")


def scratch_prefix(purpose: str) -> str:
    """The prefix of a scratch folder of this process: ``cnnbench-<purpose>-<pid>-``.

    Whoever makes it removes it; what an interruption kept from doing so goes when the process ends.
    """
    _remove_at_exit(os.getpid())
    return f"cnnbench-{purpose}-{os.getpid()}-"


@cache
def _remove_at_exit(pid: int) -> None:
    atexit.register(_remove_own, pid)


def _remove_own(pid: int) -> None:
    """Removes the scratch folders of a process, if it is this one and not a parent that forked it."""
    if pid == os.getpid():
        for folder in Path(tempfile.gettempdir()).glob(f"cnnbench-*-{pid}-*"):
            if _NAME.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)


def abandoned(root: Path | None = None) -> list[Path]:
    """Scratch folders of this user whose owner is gone.

    A process that has since taken the owner's number keeps the folder alive, which costs space and nothing else.
    """
    found = []
    for folder in Path(root or tempfile.gettempdir()).glob("cnnbench-*"):
        match = _NAME.fullmatch(folder.name)
        try:
            if match is None or folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
        except OSError:  # another run swept it meanwhile
            continue
        if not psutil.pid_exists(int(match[1])):
            found.append(folder)
    return found


def sweep(root: Path | None = None) -> list[Path]:
    """Removes what is ``abandoned``, and returns it."""
    found = abandoned(root)
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return found
