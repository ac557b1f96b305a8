"""The graph of a cell, from a registered architecture or from a user's file; built once a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.errors import SpecError

if TYPE_CHECKING:
    from cnnbench.spec.graph import Graph

FILE = "file:"


@cache
def network(architecture: str, image: tuple[int, ...] = (), num_classes: int | None = None) -> Graph:
    """The graph that ``architecture`` names.

    Args:
        architecture: A registered name, or ``file:PATH`` of a network in YAML.
        image: (C, *spatial); () for the architecture's own.
        num_classes: None for the architecture's own.

    Raises:
        SpecError: An unknown name, an image that the network cannot take, or options that a file's network has fixed.
    """
    if architecture.startswith(FILE):
        return _from_file(Path(architecture.removeprefix(FILE)), image, num_classes)
    from cnnbench.spec.architectures import build

    return build(architecture, image=image or None, num_classes=num_classes)


def _from_file(path: Path, image: tuple[int, ...], num_classes: int | None) -> Graph:
    from cnnbench.spec.interchange.yaml_network import load_network

    graph = load_network(path)
    own = graph.inputs[0].shape
    if image and image != own:
        raise SpecError(
            "the network states its own image shape", where=str(path), received=list(image), expected=list(own)
        )
    if num_classes is not None:
        raise SpecError("num_classes does not apply to a network from a file", where=str(path), received=num_classes)
    return graph


@cache
def default_image(architecture: str) -> tuple[int, ...]:
    """The image shape (C, *spatial) that an architecture has of its own. Raises SpecError."""
    if architecture.startswith(FILE):
        return network(architecture).inputs[0].shape
    from cnnbench.spec.architectures import architecture as find

    return find(architecture).facts.input
