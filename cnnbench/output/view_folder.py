"""Writes views to a folder: a picture and the arrays of each, and a page that shows them."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnbench.harness.run.files import write_atomically
from cnnbench.output.view_pictures import draw_panels

if TYPE_CHECKING:
    from cnnbench.views.finding import ViewFinding

INDEX = "index.md"


def write_views(folder: Path, network: str, findings: Sequence[ViewFinding]) -> list[Path]:
    """Writes ``<view>.<backend>.png`` and ``.npz`` for each finding, and ``index.md``.

    Args:
        folder: Made where it is not there.
        network: What the page is called.
        findings: In the order in which they are shown.

    Returns:
        The files, the page last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written, lines = [], [f"# Views into {network}", ""]
    for found in findings:
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{found.view.name}.{found.backend.replace(' ', '-')}")
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **found.result.arrays)  # type: ignore[arg-type]
        write_atomically(folder / f"{stem}.npz", buffer.getvalue())
        written.append(folder / f"{stem}.npz")
        lines += [
            f"## {found.view.name} on {found.backend}",
            "",
            f"{found.view.about[0].upper()}{found.view.about[1:]}.",
        ]
        lines += ["", f"`{found.view.formula}` ({found.view.source})", ""]
        if found.result.panels:
            write_atomically(folder / f"{stem}.png", draw_panels(found.result.panels))
            written.append(folder / f"{stem}.png")
            lines += [f"![{found.view.name}]({stem}.png)", ""]
        lines += [f"{said}." for said in found.said]
        lines += ["", f"Arrays: [{stem}.npz]({stem}.npz)", ""]
    write_atomically(folder / INDEX, "\n".join(lines))
    return [*written, folder / INDEX]
