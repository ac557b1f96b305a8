"""Parts of an exported program under a setting of PyTorch's, such as autocast: taken into the program itself."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch


def without_regions(program: Any) -> list[str]:
    """Puts the operations of such parts in their place, and returns notes on what the settings change.

    Args:
        program: A ``torch.export.ExportedProgram``, which is changed.
    """
    notes: list[str] = []
    graph, module = program.graph, program.graph_module
    while region := next((node for node in graph.nodes if _inner(node, module) is not None), None):
        place, inner = _inner(region, module) or (0, None)
        notes += _changed(region.target, region.args[:place])
        result = _inlined(graph, region, inner, region.args[place + 1 :])
        for user in list(region.users):
            if user.target is operator.getitem:
                user.replace_all_uses_with(result[user.args[1]])
                graph.erase_node(user)
        if region.users:
            region.replace_all_uses_with(result if isinstance(result, torch.fx.Node) else result[0])
        graph.erase_node(region)
    return notes


def _inner(node: Any, module: Any) -> tuple[int, Any] | None:
    """The place of the part's program among a node's arguments, and that program; None for another node."""
    if node.op != "call_function" or str(node.target) not in ("wrap_with_autocast", "wrap_with_set_grad_enabled"):
        return None
    for place, item in enumerate(node.args):
        if isinstance(item, torch.fx.Node) and item.op == "get_attr":
            return place, getattr(module, item.target)
    return None


def _changed(target: Any, settings: Sequence[Any]) -> list[str]:
    if str(target) != "wrap_with_autocast" or not settings[2] or settings[1] in (None, torch.float32):
        return []
    return [f"a part runs under autocast to {settings[1]}: its values are rounded so; in the graph not"]


def _inlined(graph: Any, region: Any, inner: Any, given: Sequence[Any]) -> Any:
    known: dict[Any, Any] = {}
    operands = iter(given)
    with graph.inserting_before(region):
        for node in inner.graph.nodes:
            if node.op == "placeholder":
                known[node] = next(operands)
            elif node.op == "output":
                return torch.fx.map_arg(node.args[0], known.__getitem__)
            else:
                known[node] = graph.node_copy(node, known.__getitem__)
    raise ValueError("a part of the program has no output")
