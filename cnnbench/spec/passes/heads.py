"""Which convolutions start small: those whose results are to be near 0 nearly everywhere, or small corrections."""

from __future__ import annotations

from cnnbench.spec.composites.pyramid import PyramidProposals
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers.arrays import Initializer
from cnnbench.spec.layers.conv import Conv
from cnnbench.spec.layers.shape import Reshape, Transpose

MAPS = ("heatmaps", "fields")  # outputs, and those of earlier stages: heatmaps1 ...
OF_MAPS = Initializer("normal", 0.001)
OF_PROPOSALS = Initializer("normal", 0.01)


def small_heads(graph: Graph) -> dict[str, Initializer]:
    """How the weights of these convolutions are drawn at the start of a training, by full name.

    Heat maps and fields are 0 nearly everywhere. From weights with which a convolution keeps variances, a network first
    has to unlearn maps of the size of 1, and may lose its features over that. Sources: standard deviation 0.001 of maps
    (the authors' release of HRNet, ``pose_hrnet.py``); 0.01 of region proposals (arXiv:1506.01497, section 3.1.3).

    Args:
        graph: The network, not lowered.
    """
    found: dict[str, Initializer] = {}
    for name, value in graph.outputs:
        if name.rstrip("0123456789") in MAPS:
            found |= _named(graph, value, OF_MAPS)
    for node in graph.nodes:
        if isinstance(node.layer, PyramidProposals):
            for value in node.inputs:
                found |= _named(graph, value, OF_PROPOSALS)
    return found


def _named(graph: Graph, value: str, initializer: Initializer) -> dict[str, Initializer]:
    """Of the convolution that gives this value, which may only have been moved about since."""
    producers = {node.name: node for node in graph.nodes}
    while (node := producers.get(value)) is not None and isinstance(node.layer, Reshape | Transpose):
        value = node.inputs[0]
    if node is None or not isinstance(node.layer, Conv):
        return {}
    return {f"{node.owner}.weight": initializer}
