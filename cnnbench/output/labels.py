"""How people see a cell called: its backend and its network. Sameness is asked of keys, never of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.porting.references import named_file


def label(cell: Cell) -> str:
    """How tables and legends name a cell's backend: mode, layout and folding where they were chosen."""
    extras = ([] if cell.layout == "auto" else [cell.layout]) + (["folded"] if cell.fold_batch_norm else [])
    extras += [cell.side] if cell.side == "base" else []
    return cell.series + (f" ({', '.join(extras)})" if extras else "")


def network_name(cell: Cell) -> str:
    """The network's name in its plan; of a record of an old version the architecture, of a user's file its name."""
    path = named_file(cell.architecture)
    return cell.network or (Path(cell.architecture) if path is None else path).name


def network_label(cell: Cell) -> str:
    """The network's name, with the recipe by which it trains where there are several: ``lenet5, adam-cosine``."""
    return ", ".join([network_name(cell), *([] if cell.recipe is None else [cell.recipe])])


def network_labels(cells: Iterable[Cell]) -> dict[Key, str]:
    """A label of each network by its key; networks of one name are told apart by their image, else by a number."""
    return _told_apart({cell.network_key: cell for cell in cells}, network_name, (_image,))


def training_labels(cells: Mapping[Key, Cell]) -> dict[Key, str]:
    """A label of each training; those of one name are told apart by what differs, or else by a number."""
    return _told_apart(cells, network_label, (_image, attrgetter("precision"), attrgetter("device"), _threads))


def _threads(cell: Cell) -> str:
    return f"threads {cell.threads or 'all'}"


def _image(cell: Cell) -> str:
    return "x".join(map(str, cell.image))


def _told_apart(
    cells: Mapping[Key, Cell], name: Callable[[Cell], str], more: Sequence[Callable[[Cell], str]]
) -> dict[Key, str]:
    shown = {key: name(cell) for key, cell in cells.items()}
    numbers = {key: str(number) for number, key in enumerate(cells, 1)}
    for add in (*({key: text(cell) for key, cell in cells.items()} for text in more), numbers):
        names = list(shown.values())
        repeated = {key for key in cells if names.count(shown[key]) > 1}
        apart = len({add[key] for key in repeated}) > 1
        shown |= {key: f"{shown[key]} {add[key]}" for key in repeated if apart}
    return shown
