"""The files of a run's networks and weights that a bundle holds, as they were when the run was planned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cnnbench.errors import CnnbenchError
from cnnbench.harness.run.bundle_file import LARGEST_MEMBER_BYTES
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.networks import PackageFile, graph_digest, weights_digest, weights_file
from cnnbench.porting.references import file_name, named_file


@dataclass(frozen=True)
class Attachment:
    """A file that cells name.

    Args:
        name: In the bundle. member: that holds it.
        data: Its bytes; None where it is not packed. reason: why not.
    """

    name: str
    member: str
    data: bytes | None
    reason: str = ""


def attachments_of(cells: tuple[Cell, ...]) -> dict[str, Attachment]:
    """By the name that cells have for them: the files as they were when the cells were planned."""
    named: dict[str, tuple[Path | None, bool]] = {}
    for cell in cells:
        path = named_file(cell.architecture)
        if path is not None:
            named[cell.architecture] = (path, cell.graph_digest in (None, _graph_digest(cell)))
        if cell.weights is not None and PackageFile.read(cell.weights) is None:
            known, found = cell.weights_digest, weights_digest(cell.architecture, cell.image, cell.weights)
            named[cell.weights] = (weights_file(cell.weights), known in (None, found))
    return {name: _attachment(i, name, path, same=same) for i, (name, (path, same)) in enumerate(named.items())}


def _attachment(number: int, name: str, path: Path | None, *, same: bool) -> Attachment:
    network = named_file(name)
    given = network or Path(name)
    suffix = given.suffix.lower() if re.fullmatch(r"\.[a-z0-9]{1,12}", given.suffix.lower()) else ""
    packed = f"attachments/{number}/{given.name}"
    names = (
        packed if network is None else file_name(packed),
        f"attachments/{number}{suffix}",
    )
    if path is None or not path.is_file():
        return Attachment(*names, None, "not here")
    if not same:
        return Attachment(*names, None, "changed since the run")
    if path.stat().st_size > LARGEST_MEMBER_BYTES:
        return Attachment(*names, None, f"larger than {LARGEST_MEMBER_BYTES} bytes")
    return Attachment(*names, path.read_bytes())


def _graph_digest(cell: Cell) -> str | None:
    """Of the cell's network as its file is now; None where it cannot be read."""
    try:
        return graph_digest(cell.architecture, cell.image, cell.num_classes)
    except CnnbenchError:
        return None
