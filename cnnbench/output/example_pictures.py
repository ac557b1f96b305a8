"""Draws what trained networks made: of the first test images, or out of nothing; backends side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError
from cnnbench.harness.passes.training import EXAMPLES, EXAMPLES_FILE
from cnnbench.harness.run.beside_records import known_file
from cnnbench.harness.run.files import write_atomically
from cnnbench.harness.run.record import Record
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.protocol.programs import PICTURES
from cnnbench.harness.worker.protocol.training import TEST_IMAGES
from cnnbench.output.labels import label, network_label
from cnnbench.output.pictures import FOLDER, sheet, side_by_side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.training.decoders.decoded import Decoded


def draw_examples(folder: Path, records: Sequence[Record]) -> list[Path]:
    """A PNG for each network that trained and is no classifier; whatever was drawn there before is gone.

    Pictures that networks trained by a program made out of nothing stand in one grid for each backend.

    Args:
        folder: The run's.
        records: Of its cells.
    """
    groups: dict[Any, dict[str, tuple[NDArray[Any], list[Decoded]]]] = {}
    names: dict[Any, str] = {}
    for record in records:
        found = _examples(RunStore(folder).cell_folder(record.cell.id), record.files) if record.training else None
        if found is not None:
            key = record.cell.training_group
            groups.setdefault(key, {}).setdefault(label(record.cell), found)
            names.setdefault(key, network_label(record.cell))
    drawn = []
    for path in (folder / FOLDER).glob("*.png"):
        path.unlink()
    for number, (key, found_by) in enumerate(groups.items()):
        images = next(iter(found_by.values()))[0]
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", names[key])
        path = folder / FOLDER / f"{number}-{stem}.png"
        said = {name: decoded for name, (_, decoded) in found_by.items()}
        write_atomically(path, side_by_side(images, said, EXAMPLES, names[key]))
        drawn.append(path)
    return drawn


def _examples(folder: Path, known: Mapping[str, str] | None) -> tuple[NDArray[Any], list[Decoded]] | None:
    """(images, what was made of each), or (no image, the grid of what was made); None where nothing can be drawn."""
    from cnnbench.training.decoders.decoded import Decoded, decode

    try:
        path = known_file(folder / EXAMPLES_FILE, known)
        if path is None:
            return None
        outputs = dict(read_arrays(path))
    except (DataError, OSError, ValueError):  # a damaged file costs a picture, not the report
        return None
    images = outputs.pop(TEST_IMAGES, None)
    made = outputs.get(PICTURES) if images is None else None
    if made is not None and made.ndim == 4 and made.size:
        return made[:0], [Decoded(picture=sheet(made))]
    if images is None or images.ndim != 4:
        return None
    said = decode(outputs, (images.shape[2], images.shape[3]))
    return (images, said) if said else None
