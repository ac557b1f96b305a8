"""What each layer kind is there for: networks, ONNX operators, losses, claims and composites that use it, or a plan."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.onnx_import import importers
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import Layer
from cnnbench.spec.losses import Loss, losses

# What cannot be computed: what a kind waits for that nothing uses yet. A line goes once something does.
PLANNED: Mapping[str, str] = {
    "box_encode": "a network that encodes its boxes' targets itself; today they are made on the host",
    "box_iou": "a network that matches anchors with boxes itself; today they are matched on the host",
    "channel_shuffle": "the promised list of layers that only move values",
    "filter_response_norm": "the promised list of normalisations",
    "gaussian_blur": "a network with a Gaussian pyramid in it",
    "min_pool": "the promised list of poolings",
    "proposal_selection": "a network with proposals from one level of features",
    "sinusoidal_positions": "the promised list of embeddings",
    "yolo_decode": "a YOLO that ends with boxes; those of yolo_v1 are decoded on the host",
}


@dataclass(frozen=True)
class Uses:
    """What uses a kind.

    Args:
        networks: The architectures that have a node of the kind.
        operators: ONNX's operators that are imported as it.
        losses: The losses of training that it computes.
        claims: The claims whose experiments are made of it.
        composites: The kinds that are made of it.
        planned: What it waits for, where nothing uses it yet.
    """

    networks: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    composites: tuple[str, ...] = ()
    planned: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for listings."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    def __str__(self) -> str:
        """In a few words: names where they are few."""
        parts = [
            _some(self.networks, "networks"),
            _some(self.operators, "operators", "ONNX "),
            _some(self.losses, "losses", "loss "),
            _some(self.claims, "claims", "claim "),
            _some(self.composites, "composites", "in "),
            f"planned: {self.planned}" if self.planned else "",
        ]
        return "; ".join(filter(None, parts)) or "nothing"


def _some(names: tuple[str, ...], what: str, before: str = "") -> str:
    """The names where they are few, else how many there are."""
    return f"{before}{len(names)} {what}" if len(names) > 2 else before * bool(names) + ", ".join(names)


def kind_uses(
    graphs: Mapping[str, Graph], experiments: Mapping[str, Callable[..., Any]] | None = None
) -> dict[str, Uses]:
    """What uses each kind, by kind.

    Args:
        graphs: Of networks, by name.
        experiments: Of claims, by name; their code is searched, with what it names in its own package.
    """
    kinds = layer_kinds()
    networks = _inverted({name: {node.layer.kind for node in graph.nodes} for name, graph in graphs.items()})
    operators = _inverted({name: _named_in(function, name) for name, function in importers().items()})
    by_loss = _inverted({name: set().union(*map(_named_in, _methods(cls, Loss))) for name, cls in losses().items()})
    claims = _inverted(
        {name: _named_in(function, within=_package_of(function)) for name, function in (experiments or {}).items()}
    )
    composites = _inverted(
        {
            kind: set().union(*map(_named_in, _methods(cls, Composite))) - {kind}
            for kind, cls in kinds.items()
            if issubclass(cls, Composite)
        }
    )
    return {
        kind: Uses(networks[kind], operators[kind], by_loss[kind], claims[kind], composites[kind], PLANNED.get(kind))
        for kind in kinds
    }


def _inverted(found: Mapping[str, Iterable[str]]) -> defaultdict[str, tuple[str, ...]]:
    """User by user's kinds as users by kind."""
    users: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for user, kinds in found.items():
        for kind in kinds:
            users[kind] += (user,)
    return users


def _methods(cls: type, root: type) -> Iterator[Callable[..., Any]]:
    """The functions of a class and of those between it and ``root``."""
    for base in cls.__mro__[: cls.__mro__.index(root)]:
        yield from filter(inspect.isfunction, vars(base).values())


def _package_of(function: Callable[..., Any]) -> str:
    return function.__module__.rpartition(".")[0] or function.__module__


def _named_in(function: Callable[..., Any], key: str = "", within: str = __package__) -> set[str]:
    """The layer kinds that a function's code names, directly or in functions and tables of a package that it names.

    Args:
        function: The function.
        key: Of tables that have it as a key, only its entry counts.
        within: The package whose functions are searched.
    """
    kinds: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [function]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if inspect.isclass(value) and issubclass(value, Layer):
            kinds |= {value.kind} - {""}
        elif isinstance(value, Mapping):
            waiting += [value[key]] if key in value else value.values()
        elif isinstance(value, tuple):
            waiting += value
        elif inspect.isfunction(value) and value.__module__.startswith(within):
            waiting += (value.__globals__.get(name) for name in _names(value.__code__))
    return kinds


def _names(code: CodeType) -> Iterator[str]:
    """The names that code, and the functions within it, look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
