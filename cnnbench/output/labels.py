"""How people see a cell called: its backend and its network. Sameness is asked of keys, never of these."""

from __future__ import annotations

from collections.abc import Iterable
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
    networks = {cell.network_key: cell for cell in cells}
    shown = {key: network_name(cell) for key, cell in networks.items()}
    for add in (lambda cell, _: "x".join(map(str, cell.image)), lambda _, number: str(number)):
        names = list(shown.values())
        repeated = {name for name in names if names.count(name) > 1}
        for number, (key, cell) in enumerate(networks.items(), 1):
            if shown[key] in repeated:
                shown[key] += f" {add(cell, number)}"
    return shown
