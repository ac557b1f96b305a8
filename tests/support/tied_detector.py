"""A tiny detector with two boxes of one score, summed in two orders, and a backend that suppresses by another rule."""

from __future__ import annotations

from dataclasses import replace

from deceitful_programs import Deceitful

from cnnbench.execution.contract import BackendPlugin
from cnnbench.hookspecs import hookimpl
from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, Conv
from cnnbench.spec.layers.detection import NonMaxSuppression, TakeRows
from cnnbench.spec.layers.merge import Concat
from cnnbench.spec.layers.pooling import GlobalAvgPool
from cnnbench.spec.layers.shape import Flatten


def tied_detector():
    """Scores are (p + q) + r, p + (q + r) and r; boxes, whose corners are an input, go where they overlap at all."""
    b = Builder("tied_detector")
    image, boxes = b.input("image", (1, 8, 8)), b.input("boxes", (3, 4))
    p, q, r = (
        b.add(f"part{i}", GlobalAvgPool(), b.add(f"conv{i}", Conv(out_channels=1, kernel_size=3), image))
        for i in range(3)
    )
    left = b.add("left", Add(), b.add("left_pair", Add(), p, q), r)
    right = b.add("right", Add(), p, b.add("right_pair", Add(), q, r))
    scores = b.add("scores", Concat(axis=1), left, right, r)
    rows = b.add("rows", Flatten(), scores)
    indices, _ = b.add_all("suppression", NonMaxSuppression(iou_threshold=0.0, max_outputs=3), boxes, rows)
    return b.build({"kept": b.add("kept", TakeRows(), boxes, indices)})


@hookimpl
def cnnbench_architectures():
    return [
        Architecture(
            name="tied_detector",
            family="tied",
            year=2020,
            source="none",
            build=lambda image, classes: tied_detector(),
            facts=Facts(input=(1, 8, 8)),
            num_classes=0,
            task="detection",
        )
    ]


class OtherThreshold(Deceitful):
    """Suppresses nothing in batches of three images."""

    others = None

    def upload(self, batch):
        program = self.others if len(batch["image"]) == 3 else self.inner
        return program, program.upload(batch)

    def load(self, weights, state):
        self.inner.load(weights, state)
        self.others.load(weights, state)

    def prepare(self, operands):
        operands[0].prepare(operands[1])

    def run(self, operands):
        program, inner = operands
        return program, program.run(inner)

    def download(self, results):
        program, inner = results
        return program.download(inner)


def lenient(graph):
    """The graph with another threshold of suppression."""
    nodes = (
        replace(node, layer=replace(node.layer, iou_threshold=1.0)) if node.name == "suppression" else node
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


@hookimpl
def cnnbench_backends():
    return [
        BackendPlugin(
            name="lenient",
            requires=("numpy",),
            load=_load,
            modes=("fast",),
            precisions={"fast": ("float32", "float64")},
            devices=("cpu",),
            layouts=("auto",),
            colour="#888888",
            distribution="numpy",
        )
    ]


def _load():
    from cnnbench_numpy.backend import NumpyBackend

    class LenientBackend(NumpyBackend):
        name = "lenient"

        def compile_forward(self, graph, options):
            right = super().compile_forward
            if options.training or graph.name != "tied_detector":
                return right(graph, options)
            program = OtherThreshold(right(graph, options))
            program.others = right(lenient(graph), options)
            return program

    return LenientBackend()
