"""Reads a network from the plain data that ``Graph.to_json`` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.kinds import layer_from_fields


def graph_from_json(data: Mapping[str, Any]) -> Graph:
    """The graph that ``Graph.to_json`` wrote, validated anew.

    Raises:
        SpecError: The data is not a graph, or not a valid one; names the node where one is the cause.
    """
    try:
        builder = Builder(str(data["name"]), part=True)
        for item in data["inputs"]:
            builder.input(item["name"], tuple(item["shape"]), dtype=item["dtype"], batched=item["batched"])
        for item in data["nodes"]:
            _add_node(builder, item)
        return builder.build({name: builder.value(value) for name, value in data["outputs"]})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SpecError("the data is not a graph", received=reason, expected="what Graph.to_json gives") from None


def _add_node(builder: Builder, item: Mapping[str, Any]) -> None:
    """Adds a node from its ``name``, ``kind``, ``inputs``, maybe ``weights_of``, and the layer's fields."""
    fields = {key: value for key, value in item.items() if key not in ("name", "kind", "inputs", "weights_of")}
    try:
        layer = layer_from_fields(str(item["kind"]), fields)
    except SpecError as error:
        raise error.at(f"{builder.name}: node {item['name']!r}") from None
    owner = item.get("weights_of")
    builder.add_all(str(item["name"]), layer, *item["inputs"], weights_of=None if owner is None else str(owner))
