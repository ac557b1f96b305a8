"""Claims about exact counts: output sizes, weights, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import numpy as np

from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.claims.laboratory import Laboratory, network
from cnnbench.errors import DataError, SpecError
from cnnbench.registry import build
from cnnbench.spec.composites.conv import DepthwiseSeparableConv
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Conv, Flatten, GlobalAvgPool, Layer, Linear
from cnnbench.spec.streams import stream
from cnnbench.spec.summary import summarize
from cnnbench.spec.weights import general_position, initialize

CHANNELS = 8


def _same(kernel_size: int, channels: int = CHANNELS) -> Conv:
    return Conv(out_channels=channels, kernel_size=kernel_size, padding="same", bias=False)


def _seen(laboratory: Laboratory, graph: Graph) -> tuple[float, ...]:
    """For each seed, how many positions of the input have a gradient from the middle of the output."""
    counts = []
    for seed in laboratory.seeds:
        shape = graph.shapes()[graph.outputs[0][1]]
        cotangent = np.zeros(shape)
        cotangent[:, :, shape[2] // 2, shape[3] // 2] = 1
        x = stream(seed, "claims", "field").normal(size=(1, *graph.inputs[0].shape))
        found = laboratory.gradients(graph, general_position(graph, seed), {graph.outputs[0][0]: cotangent}, x=x)
        counts.append(float((np.abs(found.inputs["x"]).max(axis=(0, 1)) > 0).sum()))
    return tuple(counts)


def stacked_kernels(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """Counts the weights of stacks, and the positions that an output depends on."""
    shape = (CHANNELS, 15, 15)
    three, two = network(shape, *[_same(3)] * 3), network(shape, *[_same(3)] * 2)
    seven, five, one = (network(shape, _same(size)) for size in (7, 5, 3))
    weights = [summarize(graph).parameters for graph in (three, seven, five, one)]
    yield _ratio("weights of three 3x3 over those of one 7x7", weights[0], weights[1], Fraction(27, 49))
    yield _ratio("weights of one 5x5 over those of one 3x3", weights[2], weights[3], Fraction(25, 9))
    for what, graph, count in (("three 3x3", three, 49), ("one 7x7", seven, 49), ("two 3x3", two, 25)):
        yield ClaimEvidence(f"positions that an output of {what} depends on", _seen(laboratory, graph), count, count)


def _ratio(what: str, part: int, whole: int, expected: Fraction) -> ClaimEvidence:
    """A share that the statement gives exactly; equal fractions are equal floats."""
    return ClaimEvidence(what, (float(Fraction(part, whole)),), float(expected), float(expected))


def separable_cost(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """The multiply-adds of depthwise and pointwise convolutions over those of the convolution that they replace."""
    worst = Fraction(0)
    for channels, outputs, kernel, size in product((3, 16, 32), (8, 64), (3, 5, 7), (7, 14)):
        standard = network((channels, size, size), _same(kernel, outputs))
        layer = DepthwiseSeparableConv(out_channels=outputs, kernel_size=kernel, padding="same", bias=False)
        parts = network((channels, size, size), layer)
        found = Fraction(summarize(parts).macs, summarize(standard).macs)
        worst = max(worst, abs(found - (Fraction(1, outputs) + Fraction(1, kernel**2))))
    yield ClaimEvidence("largest difference of the share from 1/N + 1/F^2 over 36 shapes", (float(worst),), 0, 0)


def bottlenecks(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """The notes' inception modules, and a residual block of 256 channels with and without a bottleneck."""
    naive, reduced = (summarize(build(f"inception_{name}")) for name in ("naive", "reduced"))
    yield ClaimEvidence(
        "multiply-adds of the reduced inception module over the naive one's", (reduced.macs / naive.macs,), most=0.5
    )
    channels = [next(iter(item.outputs.values()))[0] for item in (naive, reduced)]
    yield ClaimEvidence("output channels of the naive module", (float(channels[0]),), 672, 672)
    yield ClaimEvidence("output channels of the reduced module", (float(channels[1]),), 480, 480)
    shape = (256, 14, 14)
    plain = summarize(network(shape, _same(3, 256), _same(3, 256)))
    narrow = summarize(network(shape, _same(1, 64), _same(3, 64), _same(1, 256)))
    yield ClaimEvidence(
        "multiply-adds of a bottleneck over those of two 3x3 of 256 channels", (narrow.macs / plain.macs,), most=0.1
    )


def output_sizes(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """The spec's sizes, and those of computed arrays, against the formula."""
    wrong = computed = 0
    for size, kernel, stride, padding in product(range(5, 12), (1, 2, 3, 5), (1, 2, 3), (0, 1, 2)):
        layer = Conv(out_channels=1, kernel_size=kernel, stride=stride, padding=padding, bias=False)
        graph = network((1, size), layer)
        expected = (size + 2 * padding - kernel) // stride + 1
        wrong += graph.shapes()["0"][2] != expected
        if stride < 3 and size in (5, 8):
            found = laboratory.output(graph, initialize(graph, 0), x=np.ones((1, 1, size)))
            computed += found.shape[2] != expected
    yield ClaimEvidence("sizes that differ from floor((x + 2p - f)/s) + 1 in the spec, of 252", (float(wrong),), 0, 0)
    yield ClaimEvidence("the same of arrays that were computed, of 48", (float(computed),), 0, 0)
    kept = sum(
        network((1, size), _same(kernel, 1)).shapes()["0"][2] != size for size in range(5, 12) for kernel in (2, 3, 5)
    )
    yield ClaimEvidence("sizes that 'same' does not keep at stride 1, of 21", (float(kept),), 0, 0)


def global_pooling(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """Two heads on the same features: parameters, and the image sizes that each takes with the weights of the first."""
    features = (_same(3, 16), Conv(out_channels=32, kernel_size=3, stride=2, padding=1, bias=False))
    pooled = _Head((*features, GlobalAvgPool(), Flatten(), Linear(out_features=10)))
    full = _Head((*features, Flatten(), Linear(out_features=10)))
    nodes = {node.kind: node for node in summarize(pooled.graph(32)).nodes}
    yield ClaimEvidence("parameters of the pooling", (float(nodes["global_avg_pool"].parameters),), 0, 0)
    sizes = [summarize(head.graph(32)).parameters for head in (pooled, full)]
    yield ClaimEvidence("parameters of the pooled network over the other's", (sizes[0] / sizes[1],), most=0.2)
    others = (16, 24, 33, 48, 64)
    yield ClaimEvidence(
        "other sizes, of 5, that it takes with the same weights", (float(pooled.takes(laboratory, others)),), 5, 5
    )
    yield ClaimEvidence(
        "other sizes, of 5, that fully connected layers take", (float(full.takes(laboratory, others)),), 0, 0
    )


class _Head:
    """Layers that are put on images of several sizes, with the weights for 32 x 32."""

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self._layers = layers
        self._arrays = initialize(self.graph(32), 0)

    def graph(self, size: int) -> Graph:
        return network((3, size, size), *self._layers)

    def takes(self, laboratory: Laboratory, sizes: tuple[int, ...]) -> int:
        """The number of image sizes for which the network gives ten finite logits."""
        count = 0
        for size in sizes:
            x = stream(size, "claims", "sizes").normal(size=(1, 3, size, size))
            try:
                found = laboratory.output(self.graph(size), self._arrays, x=x)
            except (SpecError, DataError):
                continue
            count += found.shape == (1, 10) and bool(np.isfinite(found).all())
        return count


CLAIMS = (
    NetworkClaim(
        "stacked_kernels",
        1,
        "Three stacked 3x3 convolutions see what one 7x7 sees with 27/49 of its weights; two see a 5x5; a 5x5 costs "
        "25/9 of a 3x3.",
        "Simonyan, Zisserman (2014), arXiv:1409.1556, 2.3; Szegedy et al. (2015), arXiv:1512.00567, 3.1",
        stacked_kernels,
        ("as many channels go in as come out, and biases are not counted",),
    ),
    NetworkClaim(
        "separable_cost",
        2,
        "A depthwise separable convolution costs 1/N + 1/F^2 of a standard one.",
        "Howard et al. (2017), arXiv:1704.04861, section 3.1",
        separable_cost,
        ("cost is counted in multiply-adds, not in time",),
    ),
    NetworkClaim(
        "bottlenecks",
        3,
        "1x1 bottlenecks cut the cost of an inception module and of a residual block.",
        "Szegedy et al. (2014), arXiv:1409.4842, section 4; He et al. (2015), arXiv:1512.03385, section 4.1",
        bottlenecks,
    ),
    NetworkClaim(
        "output_sizes",
        5,
        "A convolution's output has floor((x + 2p - f)/s) + 1 positions; 'same' keeps the size at stride 1.",
        "Dumoulin, Visin (2016), arXiv:1603.07285, section 2",
        output_sizes,
        ("as much padding lies before as after, and the kernel is not dilated",),
    ),
    NetworkClaim(
        "global_pooling",
        8,
        "Global average pooling replaces fully connected layers without parameters and takes images of any size.",
        "Lin, Chen, Yan (2013), arXiv:1312.4400, section 3.2",
        global_pooling,
        ("a linear layer of classes follows, whose parameters do not depend on the image's size",),
    ),
)
