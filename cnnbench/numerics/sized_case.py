"""A network's layers side by side on other numbers of images, as a case that the local checks judge as any other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.case import FEW_VALUES, Case
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.teacher_forcing import arrays_of, forced_name, representatives, teacher_forced
from cnnbench.spec.graph import Node
from cnnbench.spec.layers import BatchNorm
from cnnbench.spec.layers.detection import RoIMaxPool
from cnnbench.spec.layers.indexing import GatherIndices

Array = NDArray[Any]

MOST_MACS = 4_000_000  # of a layer and all images, unless checks are thorough or it is the smallest of its kind


def sized_oracles(oracle: Oracle) -> Iterator[tuple[int, Oracle]]:
    """What is right for a case's layers on the case's other batch sizes: each size with its oracle.

    The operands are the layers' own in the case, of one image, or of its images over and over. Of the layers of a kind
    those with little work take part, or else the one with the least: other numbers of images may be other kernels, and
    the same ones for all layers alike.
    """
    for images in oracle.case.sizes:
        if images != oracle.case.size and oracle.case.size:
            names = _nodes(oracle, images)
            if names:
                yield images, Oracle(_sized(oracle, names, images), oracle.cache)


def _nodes(oracle: Oracle, images: int) -> list[str]:
    """The nodes whose operands have images in one axis at most, and that cost little.

    A batch norm of few values is left out, whose gradients are what rounding leaves of them, and what reads images by
    number where one of them is not there.
    """
    case, graph = oracle.case, oracle.case.lowered
    costs: dict[str, dict[str, int]] = {}
    for name in representatives(graph, case.size):
        node = graph.node(name)
        shapes = graph.input_shapes(node, images)
        averages_few = isinstance(node.layer, BatchNorm) and math.prod(shapes[0]) <= FEW_VALUES * shapes[0][1]
        if _axes(case, node) is not None and not averages_few and not _misses_images(oracle, node, images):
            macs = node.layer.macs(shapes, graph.output_shapes(node, images))
            costs.setdefault(node.layer.kind, {})[name] = macs
    return [
        name
        for found in costs.values()
        for name, macs in found.items()
        if macs <= MOST_MACS or case.thorough or name == min(found, key=lambda other: found[other])
    ]


def _axes(case: Case, node: Node) -> list[int | None] | None:
    """The axis of each operand along which images lie, or None; None where an operand has several, or none has one."""
    one, two = (case.lowered.input_shapes(node, images) for images in (1, 2))
    found: list[int | None] = []
    for first, second in zip(one, two, strict=True):
        grown = [axis for axis, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]
        if len(grown) > 1:
            return None
        found.append(grown[0] if grown else None)
    return found if any(axis is not None for axis in found) else None


def _misses_images(oracle: Oracle, node: Node, images: int) -> bool:
    """Whether an operand of a node holds numbers of images (a region's, for one), and one that so many do not have."""
    layer, axes = node.layer, _axes(oracle.case, node)
    position = 2 if isinstance(layer, RoIMaxPool) else 1
    along = layer.axis if isinstance(layer, GatherIndices) else 0
    if (
        not isinstance(layer, RoIMaxPool | GatherIndices)
        or len(node.inputs) <= position
        or axes is None
        or axes[0] != along
    ):
        return False
    count = oracle.case.lowered.input_shapes(node, images)[0][along]
    return int(np.max(oracle.inputs(node.name)[position], initial=-1)) >= count


def _sized(oracle: Oracle, names: list[str], images: int) -> Case:
    case = oracle.case
    graph = teacher_forced(case.lowered, names, images)
    graph = replace(graph, name=f"{case.graph.name} ({images} images)")
    batch: dict[str, Array] = {}
    for name in names:
        node = case.lowered.node(name)
        shapes = case.lowered.input_shapes(node, images)
        for i, (x, axis, shape) in enumerate(zip(oracle.inputs(name), _axes(case, node) or (), shapes, strict=True)):
            order = None if axis is None else np.arange(shape[axis]) % x.shape[axis]
            batch[forced_name(name, i)] = x if order is None else np.take(x, order, axis=axis)
    return replace(case, graph=graph, arrays=arrays_of(graph, case.lowered, case.stored), batch=batch, targets=None)
