"""A network's layers side by side on hard operands, as a case of its own that the local checks judge as any other."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.case import Case
from cnnbench.numerics.common_answers import COMMON
from cnnbench.numerics.hard_operands import Hardness, draws_all, hard_rule
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import LayerCall, layer_arrays
from cnnbench.numerics.rounding import to_storage
from cnnbench.numerics.teacher_forcing import forced_name, representatives, teacher_forced
from cnnbench.spec.graph import Graph, Input, Node
from cnnbench.spec.streams import stream

Array = NDArray[Any]

IMAGES = 6  # of a small operand, so that each of its rows may be hard in another way
FEW_VALUES = 30_000
MOST_MACS = 300_000_000  # of a layer and an image, unless checks are thorough
FEW_MACS = 100_000_000  # of a layer and all of its images, where it has more than one
LARGE_VALUES = 300_000  # an image of more than so many values gets one image


def hard_oracle(oracle: Oracle) -> Oracle | None:
    """What is right for the layers of a case on hard operands; None where no layer has some.

    Each layer with its operands' shapes once, at the network's own size, with one image where that is large.
    """
    case = hard_case(oracle.case)
    return None if case is None else Oracle(case, oracle.cache)


def hard_case(case: Case) -> Case | None:
    """The layers of a case side by side, each on hard operands; None where no layer has some."""
    found = COMMON.get(case, ("hard operands", case.thorough), partial(_operands, case))
    if found is None:
        return None
    graph, *held = found
    arrays, batch = ({name: np.array(array) for name, array in group.items()} for group in held)  # see COMMON
    return replace(case, graph=graph, arrays=arrays, batch=batch, targets=None)


def _operands(case: Case) -> tuple[Graph, dict[str, Array], dict[str, Array]] | None:
    """The graph of all these layers, with its arrays and its batch."""
    inputs: list[Input] = []
    nodes: list[Node] = []
    outputs: list[tuple[str, str]] = []
    arrays: dict[str, Array] = {}
    batch: dict[str, Array] = {}
    for name in representatives(case.lowered, case.size):
        node = case.lowered.node(name)
        found = _hard_call(case, node)
        if found is None:
            continue
        call, images = found
        part = teacher_forced(case.lowered, [name], images)
        inputs += part.inputs
        nodes += part.nodes
        outputs += part.outputs
        batch |= {forced_name(name, i): to_storage(x, case.policy) for i, x in enumerate(call.inputs)}
        shapes = part.input_shapes(part.nodes[0])
        specs = (*node.layer.weights(shapes), *node.layer.state(shapes))
        for spec, array in zip(specs, (*call.weights, *call.state), strict=True):
            arrays[f"{name}.{spec.name}"] = to_storage(array, case.policy)
    if not nodes:
        return None
    return Graph(f"{case.graph.name} (hard operands)", tuple(inputs), tuple(nodes), tuple(outputs)), arrays, batch


def _hard_call(case: Case, node: Node) -> tuple[LayerCall, int] | None:
    """The node's call on hard operands with its number of images.

    None where its kind has none, or an operand has no images in its first axis.
    """
    graph, rule = case.lowered, hard_rule(node.layer.kind)
    if rule is None or not node.inputs:
        return None
    one, two = graph.input_shapes(node, 1), graph.input_shapes(node, 2)
    joined = any(a[:1] != (1,) or b != (2, *a[1:]) for a, b in zip(one, two, strict=True))
    integers = [graph.dtypes[value] != "float" for value in node.inputs]
    if (joined or any(integers)) and not draws_all(node.layer.kind):
        return None
    macs = node.layer.macs(one, graph.output_shapes(node, 1))
    if macs > MOST_MACS and not case.thorough:
        return None
    size = max(map(math.prod, (*one, *graph.output_shapes(node, 1))))
    images = IMAGES if size <= FEW_VALUES else 1 if size > LARGE_VALUES else 2
    images = max(1, min(images, FEW_MACS // max(macs, 1)))
    hard = Hardness.of(case.policy, stream(case.seed, "hard operands", node.name))
    shapes = zip(integers, graph.input_shapes(node, images), strict=True)
    ordinary = tuple(np.zeros(shape, np.int64) if whole else hard.normal(shape) for whole, shape in shapes)
    call = rule(LayerCall(node.layer, ordinary, *layer_arrays(graph, node, case.stored)), hard)
    rows, before = call.inputs[0].shape[0], ordinary[0].shape[0]  # a row is an image, or a region of one
    return call, images * rows // before if before else images
