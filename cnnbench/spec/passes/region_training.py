"""A two-stage detector as it is trained: regions come in from the host, and what the losses read comes out."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.errors import SpecError
from cnnbench.spec.composites.pyramid import PyramidProposals
from cnnbench.spec.composites.regions import ClassDetections
from cnnbench.spec.graph import Graph, Input, Node
from cnnbench.spec.layers import Concat, Layer
from cnnbench.spec.layers.conv import Conv
from cnnbench.spec.layers.shape import Reshape

REGIONS = "regions"  # the input: (R, 4) of each image
SCOPE = "training"  # of the nodes that are added


def proposals_node(graph: Graph) -> Node:
    """The node that proposes regions. Raises SpecError where there is none, or more than one."""
    found = [node for node in graph.nodes if isinstance(node.layer, PyramidProposals)]
    if len(found) != 1:
        raise SpecError(
            "the network does not propose regions",
            where=graph.name,
            received=f"{len(found)} nodes of kind {PyramidProposals.kind!r}",
            expected="one",
        )
    return found[0]


def region_training_graph(graph: Graph) -> Graph:
    """The network whose regions are an input in place of its own proposals and of its own detections.

    Weights keep their names. Masks are those of every class, in every region.

    Args:
        graph: A network with ``PyramidProposals`` and outputs logits and deltas of each region, and perhaps masks.

    Shapes:
        image (N, C, H, W), regions (N, R, 4), R as many as are proposed -> logits (N, R, K + 1), deltas
        (N, R, 4 (K + 1)), objectness (N, A), anchor_deltas (N, A, 4), A the anchors of all levels, and masks as logits
        (N, R, K + 1, S, S) where the network has masks.

    Raises:
        SpecError: The network proposes no regions.
    """
    proposals, values = proposals_node(graph), dict(graph.outputs)
    count = graph.shapes()[proposals.name][1]
    found = {node.name for node in graph.nodes if isinstance(node.layer, ClassDetections)} | {proposals.name}
    nodes = [
        replace(node, inputs=tuple(REGIONS if value in found else value for value in node.inputs))
        for node in graph.nodes
    ]
    outputs = {name: values[name] for name in ("logits", "deltas")}
    for place, name in enumerate(("objectness", "anchor_deltas")):
        nodes.append(_node(graph, name, Concat(axis=1), proposals.inputs[place::3]))
        outputs[name] = nodes[-1].name
    if "masks" in values:
        source = _convolution(graph, values["masks"])
        shape = (-1, count, *graph.shapes()[source][1:])
        nodes.append(_node(graph, "masks", Reshape(shape=shape, whole=True), (source,)))
        outputs["masks"] = nodes[-1].name
    inputs = (*graph.inputs, Input(REGIONS, (count, 4)))
    whole = Graph(f"{graph.name} on given regions", inputs, tuple(nodes), graph.outputs)
    return replace(whole.prefix(tuple(outputs.values())), outputs=tuple(outputs.items()))


def proposals_graph(graph: Graph) -> Graph:
    """The part of the network that proposes regions. Shapes: image (N, C, H, W) -> regions (N, R, 4), zeros behind."""
    name = proposals_node(graph).name
    return replace(graph.prefix((name,)), outputs=((REGIONS, name),))


def _node(graph: Graph, name: str, layer: Layer, inputs: tuple[str, ...]) -> Node:
    """A node beside the network's own, resolved for what it reads (which, in a reshape, may be more rows)."""
    shapes = graph.shapes()
    is_rows = isinstance(layer, Reshape)
    return Node(f"{SCOPE}.{name}", layer if is_rows else layer.resolve(tuple(shapes[v] for v in inputs)), inputs)


def _convolution(graph: Graph, value: str) -> str:
    """The convolution from which this value follows, each node's first input being the way."""
    node = graph.node(value)
    while not isinstance(node.layer, Conv):
        node = graph.node(node.inputs[0])
    return node.name
