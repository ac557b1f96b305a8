"""Looks up what plugins offer, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.plugins import (
    BUILT_IN,
    GROUP,
    VARIABLE,
    Implementation,
    Note,
    broken_plugins,
    forget_plugins,
    guarded,
    implementations,
    left_out,
    missing_plugins_left_out,
    plugin_manager,
    warn,
)

if TYPE_CHECKING:
    from cnnbench.spec.architectures import Architecture
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.interchange.model_readers import ModelReader
    from cnnbench.spec.interchange.weight_readers import WeightReader
    from cnnbench.spec.layers import Layer, Shape
    from cnnbench.spec.weights import Array

__all__ = [
    "BUILT_IN",
    "GROUP",
    "VARIABLE",
    "Implementation",
    "Named",
    "Note",
    "architecture",
    "architectures",
    "broken_plugins",
    "build",
    "forget_plugins",
    "guarded",
    "implementations",
    "layer_kinds",
    "left_out",
    "missing_plugins_left_out",
    "model_readers",
    "offered",
    "plugin_manager",
    "read_weights",
    "warn",
    "weight_readers",
]


class Named(Protocol):
    """What plugins offer under a name, unique among all that is offered to the same hook."""

    @property
    def name(self) -> str: ...


_Item = TypeVar("_Item", bound=Named)


def offered(hook: str, kind: type[_Item], note: Note = warn) -> dict[str, _Item]:
    """What all plugins offer to a hook whose result is a sequence of named values.

    A plugin that raises, gives anything but ``kind``, or takes a name that an earlier plugin has, is left out.

    Args:
        hook: A hook without parameters.
        kind: The type of the values.
        note: As in ``Implementation.call``.

    Returns:
        The values by name, the core's own first.
    """
    taken: dict[str, _Item] = {}

    def checked(given: Any) -> dict[str, _Item]:
        items = list(given)
        for number, item in enumerate(items):
            if not isinstance(item, kind):
                raise TypeError(f"{item!r:.80} is no {kind.__name__}")
            if item.name in taken or any(item.name == other.name for other in items[:number]):
                raise ValueError(f"the name {item.name!r} is taken")
        return {item.name: item for item in items}

    for implementation in implementations(hook):
        taken |= implementation.call(checked, note=note) or {}
    return taken


def architectures() -> dict[str, Architecture]:
    """Every architecture by name: the shipped ones first, then those of other plugins."""
    from cnnbench.spec.architectures import Architecture

    return offered("cnnbench_architectures", Architecture)


def architecture(name: str) -> Architecture:
    """The architecture of that name; raises SpecError with the nearest name where there is none."""
    known = architectures()
    if name not in known:
        from cnnbench.spec.interchange.weight_readers import not_a_network

        raise not_a_network(name, weight_readers()) or SpecError(
            f"unknown architecture {name!r}", remedy=did_you_mean(name, known)
        )
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
    if image and len(image) != len(found.facts.input):
        raise SpecError(
            "the image has another number of axes than the network's",
            where=name,
            received=image,
            expected=f"{len(found.facts.input)} axes, such as {found.facts.input}",
            remedy="arrays of images have the batch first: (N, C, H, W)",
        )
    return found.build(image or found.facts.input, num_classes or found.num_classes)


def own_graphs() -> dict[str, Graph]:
    """The graph of every architecture at its own input, by name; one whose builder raises is named and left out."""
    built = {
        item.name: left_out(lambda item=item: item.build(item.facts.input, item.num_classes), f"network {item.name!r}")  # type: ignore[misc]
        for item in architectures().values()
    }
    return {name: graph for name, graph in built.items() if graph is not None}


def layer_kinds() -> Mapping[str, type[Layer]]:
    """Every registered layer kind by name, those of plugins included: importing a plugin registers its kinds."""
    from cnnbench.spec.kinds import layer_kinds as registered

    plugin_manager()
    return registered()


def model_readers() -> list[ModelReader]:
    """The readers of users' own models, those of plugins that were registered first in front."""
    from cnnbench.spec.interchange.model_readers import ModelReader

    return list(offered("cnnbench_model_readers", ModelReader).values())


def weight_readers() -> dict[str, WeightReader]:
    """The reader of each file suffix; where two plugins read the same suffix, the one registered last does."""
    from cnnbench.spec.interchange.weight_readers import WeightReader

    readers = offered("cnnbench_weight_readers", WeightReader).values()
    return {suffix: reader for reader in readers for suffix in reader.suffixes}


def read_weights(path: Path) -> dict[str, Array]:
    """The arrays of a weights file of any known format, by the file's own names.

    Raises:
        DataError: An unknown suffix, or a file that is not valid.
        UnavailableError: A package that the format needs is missing.
    """
    from cnnbench.spec.interchange.pointers import refuse_pointer
    from cnnbench.spec.interchange.weight_readers import reader_for

    reader = reader_for(path, weight_readers())
    refuse_pointer(path)
    return reader.read(path)
