"""Folds a network for drawing: nodes of one block become one box, and equal boxes in a row one box with a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cnnbench.output.layer_settings import settings
from cnnbench.spec.graph import Graph, producer
from cnnbench.spec.layers import Shape
from cnnbench.spec.summary import NetworkSummary, NodeSummary, summarize

LARGE = 40
WINDOW = ("kernel_size", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True)
class Box:
    """One or several blocks, or single nodes.

    Args:
        name: The block's scope, the node's name, or ``first … last``.
        kinds: Its layers, in order, as (kind, count).
        output_shape: For one image. parameters: of all that it stands for.
        inputs: The boxes that it reads, each once.
        count: How many equal blocks in a row it stands for.
        windows: Its convolutions and poolings in words, each once: ``conv 3x3, stride 2, padding 1, groups 32``.
    """

    name: str
    kinds: tuple[tuple[str, int], ...]
    output_shape: Shape
    parameters: int
    inputs: tuple[str, ...]
    count: int = 1
    windows: tuple[str, ...] = ()


def fold(graph: Graph, summary: NetworkSummary | None = None) -> tuple[Box, ...]:
    """The boxes of ``graph`` in an order in which each follows what it reads; program inputs come first.

    Nodes are one block where their names agree up to the first number (``layer1.0``), or in their first part (in their
    first two where that is more than ``LARGE`` nodes); a block that would both feed and read another one is drawn node
    by node.
    """
    facts = summary or summarize(graph)
    groups = {node.name: _block(node.name) for node in graph.nodes}
    sizes = Counter(groups.values())
    groups = {
        name: ".".join(name.split(".")[:2]) if sizes[group] > LARGE and group.count(".") == 0 else group
        for name, group in groups.items()
    }
    while (tangled := _in_a_cycle(graph, groups)) is not None:
        groups = {name: name if group == tangled else group for name, group in groups.items()}
    return _merged(_boxes(graph, facts, groups))


def _block(name: str) -> str:
    """The block that a node belongs to by its name."""
    parts = name.split(".")
    if len(parts) == 1:
        return name
    for place, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: place + 1])
    return parts[0]


def _edges(graph: Graph, groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """For each block in order the blocks and inputs that it reads."""
    found: dict[str, dict[str, None]] = {}
    for node in graph.nodes:
        read = found.setdefault(groups[node.name], {})
        for value in node.inputs:
            source = groups.get(producer(value), producer(value))
            if source != groups[node.name]:
                read[source] = None
    return {block: tuple(read) for block, read in found.items()}


def _in_a_cycle(graph: Graph, groups: Mapping[str, str]) -> str | None:
    """A block of several nodes that lies on a cycle of blocks, or None."""
    edges = _edges(graph, groups)
    done: set[str] = set()
    names = {item.name for item in graph.inputs}
    while True:
        ready = [b for b, read in edges.items() if b not in done and all(r in done or r in names for r in read)]
        if not ready:
            break
        done.update(ready)
    sizes = Counter(groups.values())
    return next((block for block in edges if block not in done and sizes[block] > 1), None)


def _boxes(graph: Graph, facts: NetworkSummary, groups: Mapping[str, str]) -> list[Box]:
    edges = _edges(graph, groups)
    by_name = {node.name: node for node in facts.nodes}
    boxes = [Box(item.name, (("input", 1),), item.shape, 0, ()) for item in graph.inputs]
    members: dict[str, list[str]] = {}
    for node in graph.nodes:
        members.setdefault(groups[node.name], []).append(node.name)
    done = {item.name for item in graph.inputs}
    waiting = list(edges)
    while waiting:
        block = next(b for b in waiting if all(read in done for read in edges[b]))
        waiting.remove(block)
        done.add(block)
        parts = [by_name[name] for name in members[block]]
        kinds = Counter(part.kind for part in parts)
        total = sum(part.parameters for part in parts)
        shown = tuple(dict.fromkeys(filter(None, map(_window, parts))))
        boxes.append(Box(block, tuple(kinds.items()), parts[-1].output_shape, total, edges[block], windows=shown))
    return boxes


def _window(node: NodeSummary) -> str:
    """What slides, with its kernel, stride, padding and groups."""
    fields = {name: node.fields[name] for name in WINDOW if name in node.fields}
    if fields.get("groups") == 1:
        del fields["groups"]
    return f"{node.kind} {settings(fields)}" if "kernel_size" in fields else ""


def _merged(boxes: list[Box]) -> tuple[Box, ...]:
    """Equal boxes that follow each other without a branch, as one box."""
    readers: dict[str, int] = {}
    for box in boxes:
        for name in box.inputs:
            readers[name] = readers.get(name, 0) + 1
    result: list[Box] = []
    renamed: dict[str, str] = {}
    first = ""  # of the boxes that the last one stands for
    for box in boxes:
        inputs = tuple(dict.fromkeys(renamed.get(name, name) for name in box.inputs))
        last = result[-1] if result else None
        alone = len(box.inputs) == 1 and readers.get(box.inputs[0], 0) == 1
        if last is not None and alone and inputs == (last.name,) and _alike(last, box):
            name = f"{first} … {box.name}"
            result[-1] = replace(last, name=name, parameters=last.parameters + box.parameters, count=last.count + 1)
            renamed |= {key: name for key, value in renamed.items() if value == last.name}
            renamed |= {last.name: name, box.name: name}
        else:
            first = box.name
            result.append(replace(box, inputs=inputs))
    return tuple(result)


def _alike(last: Box, box: Box) -> bool:
    each = last.parameters / last.count
    same = (last.kinds, last.output_shape, last.windows) == (box.kinds, box.output_shape, box.windows)
    return same and each == box.parameters


def described(kinds: tuple[tuple[str, int], ...]) -> str:
    """The layers of a box in words: ``3 conv, 3 batch_norm, relu``."""
    return ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in kinds)
