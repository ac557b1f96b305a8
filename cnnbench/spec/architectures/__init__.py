"""The named networks: one family a module, each with its paper's table, a builder and declared facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Shape


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a primary source says of an architecture; tests hold the builder to it.

    Args:
        parameters: Trainable values, auxiliary classifiers included.
        macs: Multiply-accumulates of convolutions and linear layers for one image of ``input``, at inference.
        buffers: Values that are stored and not trained; None where the source does not say.
        parameters_inference: Trainable values without auxiliary classifiers; None where there are none.
        input: The shape (C, H, W) for which ``macs`` holds.
    """

    parameters: int
    macs: int
    input: Shape
    buffers: int | None = None
    parameters_inference: int | None = None


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A named network.

    Args:
        name, family, year: How it is listed.
        source: arXiv id and table, or the revision of the reference implementation.
        build: (image shape (C, H, W), number of classes) -> Graph; its main output is ``logits`` for a classifier.
        facts: What the source says; ``facts.input`` is the default image shape.
        num_classes: The default number of classes.
    """

    name: str
    family: str
    year: int
    source: str
    build: Callable[[Shape, int], Graph]
    facts: Facts
    num_classes: int


def shipped() -> tuple[Architecture, ...]:
    """What cnnbench ships: the ``ARCHITECTURES`` of each module here, found by looking into this folder."""
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    return tuple(item for module in modules for item in module.ARCHITECTURES)


@cache
def architectures() -> dict[str, Architecture]:
    """Every architecture by name: the shipped ones first, then those of other plugins."""
    from cnnbench.plugins import gathered

    found: dict[str, Architecture] = {}
    for group in reversed(gathered("cnnbench_architectures", Architecture)):
        for item in group:
            if item.name in found:
                raise SpecError(f"architecture {item.name!r} is registered twice")
            found[item.name] = item
    return found


def architecture(name: str) -> Architecture:
    """The architecture of that name; raises SpecError with the nearest name where there is none."""
    known = architectures()
    if name not in known:
        raise SpecError(f"unknown architecture {name!r}", remedy=did_you_mean(name, known))
    return known[name]


def build(name: str, *, image: Shape | None = None, num_classes: int | None = None) -> Graph:
    """The graph of a named network.

    Args:
        name: A registered name.
        image: (C, H, W) of one image; the default is the one of the declared facts.
        num_classes: The default is the architecture's own.

    Raises:
        SpecError: An unknown name, or an image that the network cannot take.
    """
    found = architecture(name)
    return found.build(image or found.facts.input, num_classes or found.num_classes)
