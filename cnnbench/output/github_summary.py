"""Appends Markdown to the summary of a GitHub Actions job where there is one."""

from __future__ import annotations

import os
from pathlib import Path

from cnnbench.addresses import without_secrets
from cnnbench.registry import warn

VARIABLE = "GITHUB_STEP_SUMMARY"
LIMIT_BYTES = 1_000_000  # GitHub refuses a step's summary beyond 1 MiB


def is_wanted() -> bool:
    """Whether this runs in a job that shows a summary."""
    return bool(os.environ.get(VARIABLE))


def append_summary(markdown: str) -> Path | None:
    """Appends to the file that ``$GITHUB_STEP_SUMMARY`` names; returns it, or None where there is none to write to.

    What exceeds GitHub's limit is cut at a line; a last line says so.
    """
    if not is_wanted():
        return None
    path = Path(os.environ[VARIABLE])
    markdown = without_secrets(markdown)
    data = markdown.encode(errors="replace")
    if len(data) > LIMIT_BYTES:
        kept = data[:LIMIT_BYTES].rpartition(b"\n")[0]
        markdown = kept.decode(errors="ignore") + "\n\n… cut: the summary is larger than GitHub shows\n"
    try:
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(markdown.rstrip("\n") + "\n\n")
    except OSError as error:  # the verdict stands, whatever becomes of its summary
        warn(f"the job's summary cannot be written: {error.strerror}: {path} (${VARIABLE})")
        return None
    return path
