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


def sweep(root: Path | None = None) -> list[Path]:
    """Removes this user's scratch folders whose owner is gone, and returns them.

    A process that has since taken the owner's number keeps the folder alive, which costs space and nothing else.
    """
    swept = []
    for folder in Path(root or tempfile.gettempdir()).glob("cnnbench-*"):
        match = _NAME.fullmatch(folder.name)
        try:
            if match is None or folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
        except OSError:  # another run swept it meanwhile
            continue
        if not psutil.pid_exists(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder)
    return swept
