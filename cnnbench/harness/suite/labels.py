"""Names for people and folders: of networks, cells and comparison groups, each unique in its plan."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.harness.suite.points import Point
from cnnbench.porting.references import named_file
from cnnbench.spec.content import content_digest

LONGEST = 80  # characters of a network's name: a folder's name must stay below the file system's 255


def plain(text: str) -> str:
    """A name that may stand in an id, which names a folder too."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text).lstrip(".")[:LONGEST] or "_"


def network_labels(architectures: Iterable[str], own: Mapping[str, str] | None = None) -> dict[str, str]:
    """A unique name for each architecture: of a file its network's own name, or as much of its path as tells it apart.

    >>> network_labels(["resnet18", "file:a/net.yaml", "file:b/net.yaml"])
    {'resnet18': 'resnet18', 'file:a/net.yaml': 'a_net', 'file:b/net.yaml': 'b_net'}
    """
    names = list(dict.fromkeys(architectures))
    files = {name: path for name in names if (path := named_file(name)) is not None}
    found = {name: plain(name) for name in names if name not in files}
    called = {files[name]: plain(text) for name, text in (own or {}).items() if name in files}
    for shorten in (lambda path: called.get(path) or _stem(path), _stem, _name, _with_folder, _with_digest):
        labels = {name: shorten(path) for name, path in files.items() if name not in found}
        counts = Counter([*labels.values(), *found.values()])
        found |= {name: label for name, label in labels.items() if counts[label] == 1 or shorten is _with_digest}
    return {name: found[name] for name in names}


def _stem(path: Path) -> str:
    return plain(path.stem)


def _name(path: Path) -> str:
    return plain(path.name)


def _with_folder(path: Path) -> str:
    return plain("_".join((*path.parts[-2:-1], path.stem)))


def _with_digest(path: Path) -> str:
    return f"{plain(path.stem)}_{content_digest(str(path))[:8]}"


def cell_label(point: Point, network: str, recipe: str | None = None) -> str:
    """``resnet18-torch-eager-b1-3x224x224-float32``, and what is unusual.

    Args:
        point: Of the matrix.
        network: How its network is called.
        recipe: How its way of training is.
    """
    parts = [network, *([] if recipe is None else [recipe]), point.backend, point.mode]
    parts += [] if point.layout == "auto" else [point.layout]
    parts += ["folded"] if point.fold_batch_norm else []
    return "-".join([*parts, *_of_work(point)])


def group_label(point: Point, network: str) -> str:
    """``resnet18-b1-3x224x224-float32``, and what is unusual."""
    return "-".join([network, *_of_work(point)])


def _of_work(point: Point) -> list[str]:
    parts = [f"b{point.batch}", "x".join(map(str, point.image)), point.precision]
    parts += [] if point.data == "random" else [plain(point.data)]
    parts += [] if point.weights is None else ["trained"]
    parts += [] if point.num_classes is None else [f"c{point.num_classes}"]
    parts += [] if point.device == "cpu" else [point.device.replace(":", "")]
    return parts + ([] if point.threads is None else [f"t{point.threads}"])


def uniquely_labelled(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells with a label of its own for each: a piece of the key is added where two would have the same.

    Labels name folders, in which a file system may not tell capital letters from small ones.
    """
    ids = Counter(cell.id.lower() for cell in cells)
    groups: dict[Key, str] = {}
    for cell in cells:
        groups.setdefault(cell.comparison_group, cell.group)
    taken = Counter(groups.values())
    return tuple(_relabelled(cell, ids, groups, taken) for cell in cells)


def _relabelled(cell: Cell, ids: Mapping[str, int], groups: Mapping[Key, str], taken: Mapping[str, int]) -> Cell:
    name = cell.id if ids[cell.id.lower()] == 1 else f"{cell.id}-{cell.key[:8]}"
    group = groups[cell.comparison_group]
    if taken[group] > 1:
        group = f"{group}-{content_digest(cell.comparison_group)[:8]}"
    return cell if (name, group) == (cell.id, cell.group) else cell.model_copy(update={"id": name, "group": group})
