"""The named networks: one family a module, each with its paper's table, a builder and declared facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Literal

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Shape

Task = Literal[
    "classification",
    "segmentation",
    "detection",
    "pose",
    "reconstruction",
    "generation",
    "discrimination",
    "denoising",
    "captioning",
    "features",
]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a primary source says of an architecture; tests hold the builder to it.

    Args:
        parameters: Trainable values, auxiliary classifiers included; None where the source does not say.
        macs: Multiply-accumulates of convolutions and linear layers for one image of ``input``, at inference; or None.
        buffers: Values that are stored and not trained; None where the source does not say.
        parameters_inference: Trainable values without auxiliary classifiers; None where there are none.
        input: The shape (C, H, W) for which ``macs`` holds.
    """

    parameters: int | None = None
    macs: int | None = None
    input: Shape
    buffers: int | None = None
    parameters_inference: int | None = None


Build = Callable[[Shape, int], Graph]
"""(image, num_classes) -> the network. Families build theirs by a function of these and of ``variant``.

    variant: The row of the family's table.
    image: The shape of one image, (C, H, W).
    num_classes: The number of logits: image (N, C, H, W) -> logits (N, num_classes), unless the function says else.
"""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A named network.

    Args:
        name, family, year: How it is listed.
        source: arXiv id and table, or the revision of the reference implementation.
        task: What its outputs are for.
        build: Its main output is ``logits`` for a classifier.
        facts: What the source says; ``facts.input`` is the default image shape. ``Facts(input=(3, 32, 32))`` where
            there is no source: nothing is then held against the graph.
        num_classes: The default number of classes; 0 where it has none.
    """

    name: str
    family: str
    year: int
    source: str
    build: Build
    facts: Facts
    num_classes: int
    task: Task = "classification"


def require_no_classes(name: str, num_classes: int) -> None:
    """Raises SpecError where classes are asked of a network that has none."""
    if num_classes:
        raise SpecError("the network has no classes", where=name, received=num_classes, remedy="leave them out")


@cache
def shipped() -> tuple[Architecture, ...]:
    """What cnnbench ships: the ``ARCHITECTURES`` of each module here, found by looking into this folder."""
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    return tuple(item for module in modules for item in module.ARCHITECTURES)
