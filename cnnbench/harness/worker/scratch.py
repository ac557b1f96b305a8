"""Scratch folders that name their owner, so that what a killed run left behind can be swept by the next."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import psutil

_NAME = re.compile(r"cnnbench-(?:worker|material)-(\d+)-\w+")


def scratch_prefix(purpose: str) -> str:
    """The prefix of a scratch folder of this process: ``cnnbench-<purpose>-<pid>-``."""
    return f"cnnbench-{purpose}-{os.getpid()}-"


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
