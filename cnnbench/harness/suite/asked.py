"""What a suite asks for, in names that are the same from every folder: of its files, its cells and itself."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cnnbench.harness.suite.labels import network_labels
from cnnbench.harness.suite.matrix import Axes, Block
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.networks import PackageFile
from cnnbench.harness.suite.points import Point
from cnnbench.porting.references import file_name, named_file
from cnnbench.spec.content import content_digest


def all_axes(suite: Suite) -> Iterator[tuple[int, Block, Axes]]:
    """(number of the block, block, axes) of each block and of each entry that it includes."""
    for number, block in enumerate(suite.matrix):
        yield number, block, block
        yield from ((number, block, _completed(axes, block)) for axes in block.include)


def _completed(axes: Axes, block: Block) -> Axes:
    """An ``include`` entry with its absent axes from the block."""
    given = {name: value for name in Axes.model_fields if (value := getattr(axes, name)) is not None}
    return Axes(**{name: getattr(block, name) for name in Axes.model_fields} | given)


def files_as_asked(architectures: Iterable[str], weights: Iterable[str | None]) -> dict[str, str]:
    """Each file that a suite names, as a path from the folder that all of them share: the same from every folder.

    >>> files_as_asked(["file:/x/nets/a.yaml", "resnet18"], ["/x/trained/a.npz", "package:zoo/b.npz", None])
    {'file:/x/nets/a.yaml': 'file:nets/a.yaml', '/x/trained/a.npz': 'trained/a.npz'}
    """
    networks = {name: path for name in architectures if (path := named_file(name)) is not None}
    files = networks | {name: Path(name) for name in weights if name is not None and PackageFile.read(name) is None}
    paths = {name: Path(os.path.abspath(path)) for name, path in files.items()}  # noqa: PTH100 - links stay
    if not paths:
        return {}
    shared = os.path.commonpath([str(path.parent) for path in paths.values()])
    asked = {name: path.relative_to(shared).as_posix() for name, path in paths.items()}
    return {name: file_name(path) if name in networks else path for name, path in asked.items()}


def files_of(suite: Suite) -> dict[str, str]:
    """As ``files_as_asked``, of all files that a suite names."""
    axes = [axes for _, _, axes in all_axes(suite)]
    architectures = [name for item in axes for name in item.architectures or ()]
    return files_as_asked(architectures, [item.weights for item in axes])


def suite_as_asked(suite: Suite) -> dict[str, Any]:
    """A suite as plain data without the folder in which it lies: two that are equal ask for the same.

    How long workers may take is left out: a run may be given more time.
    """
    found: dict[str, Any] = renamed(suite.model_dump(mode="json", exclude={"timeouts"}), files_of(suite))
    return found


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Plain data with other names for files.

    Args:
        value: The data.
        names: The new name of each file by the one it has in the data.
    """
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    if isinstance(value, dict):
        return {key: renamed(item, names) for key, item in value.items()}
    return value


def own_name(architecture: str) -> str | None:
    """What a network in a YAML file calls itself; None where it says nothing, or is no such file."""
    path = named_file(architecture)
    if path is None or path.suffix.lower() not in (".yaml", ".yml"):
        return None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = re.search(r"""^name:[ \t]*['"]?([^'"#\n]+)""", path.read_text(encoding="utf-8"), re.MULTILINE)
        return found[1].strip() or None if found else None
    return None


class Names(NamedTuple):
    """How the suite's networks and files are called: in labels, and in keys."""

    labels: Mapping[str, str]
    asked: Mapping[str, str]

    @staticmethod
    def of(suite: Suite) -> Names:
        """Those of a suite."""
        asked = files_of(suite)
        names = [name for _, _, axes in all_axes(suite) for name in axes.architectures or ()]
        own = {asked.get(name, name): text for name in names if (text := own_name(name)) is not None}
        labels = network_labels((asked.get(name, name) for name in names), own)
        return Names({name: labels[asked.get(name, name)] for name in names}, asked)


def key_of(point: Point, seed: int, training: Mapping[str, Any] | None, files: Mapping[str, str]) -> str:
    """Digest of what the suite asks of a cell; how long it is measured, and how checked, is no part of it.

    A file counts by its place among the suite's files, not by its content: a network that was changed is the same
    cell, which is then not comparable, because the record has the digest of another graph.

    Args:
        point: The cell's place in the matrix.
        seed: The suite's.
        training: How it trains, as plain data by the suite's key; None where it does not.
        files: As ``files_of`` gives them.
    """
    asked: dict[str, Any] = point._asdict() | {"seed": seed}
    asked["architecture"] = files.get(point.architecture, point.architecture)
    if point.weights is None:
        del asked["weights"]
    else:
        asked["weights"] = files.get(point.weights, point.weights)
    asked |= training or {}
    return content_digest(asked)[:16]
