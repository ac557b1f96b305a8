"""Small networks in which a fault shows: the suspect layer between two others, on data that does not hide it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault, OperationChange
from cnnbench.spec.graph import Builder, Graph, weight_parts
from cnnbench.spec.layers import ChannelAffine, GlobalAvgPool, Layer, Linear, ReLU
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position
from cnnbench.training.steps import TrainingSteps

Array = NDArray[Any]
Configuration = Callable[[ProgramOptions, int], Case]
SUSPECT = "suspect"


@dataclass(frozen=True)
class SuspectNetwork:
    """The network around a suspect layer: an affine map before it and one behind it.

    Args:
        image: (C, *spatial) of the network's input. inputs: how many values the suspect reads.
        variance: Range of running variances: a fault in epsilon shows where they are small. None: in general position.
        negative: Whether inputs are all negative, which makes wrong padding win a maximum.
        batch: Images.
    """

    image: tuple[int, ...]
    inputs: int = 1
    variance: tuple[float, float] | None = None
    negative: bool = False
    batch: int = 2


def surrounded(layer: Layer, around: SuspectNetwork) -> Configuration:
    """An affine map, the suspect, an affine map: so that a fault must be located and not only noticed."""

    def case(options: ProgramOptions, seed: int) -> Case:
        builder = Builder("suspect network")
        image = builder.input("image", around.image)
        before = [builder.add(f"before{i}", ChannelAffine(), image) for i in range(around.inputs)]
        graph = builder.build(builder.add("after", ChannelAffine(), builder.add(SUSPECT, layer, *before)))
        generator = stream(seed, "fault inputs")
        batch = generator.normal(size=(around.batch, *around.image))
        if around.negative:
            batch = -1 - np.abs(batch)
        arrays = _arrays(graph, seed, around.variance)
        if around.negative:
            for value in before:
                arrays[f"{value.name}.weight"] = np.abs(arrays[f"{value.name}.weight"])
                arrays[f"{value.name}.bias"] = 0 * arrays[f"{value.name}.bias"]
        return Case(graph, arrays, {"image": batch.astype(np.float32)}, options, seed=seed)

    return case


def suspect_fault(
    name: str, description: str, layer: Layer, operation: OperationChange, around: SuspectNetwork
) -> Fault:
    """A fault of a layer's own op, to be located at it.

    Args:
        name: ``<kind>.<defect>``.
        description: What goes wrong, and where it happened.
        layer: The suspect.
        operation: The changed op.
        around: How the suspect is surrounded.
    """
    return Fault(name, layer.kind, description, surrounded(layer, around), operation=operation)


def on_data(layer: Layer, around: SuspectNetwork, *, mean: float, deviation: float) -> Configuration:
    """The suspect reads values of this mean and standard deviation, the same for every channel.

    Args:
        layer: The suspect.
        around: How it is surrounded.
        mean: Of the values that it reads.
        deviation: Their standard deviation.
    """
    plain = surrounded(layer, around)

    def case(options: ProgramOptions, seed: int) -> Case:
        found = plain(options, seed)
        arrays = dict(found.arrays)
        for name, value in (("before0.weight", deviation), ("before0.bias", mean)):
            arrays[name] = np.full_like(arrays[name], value)
        return replace(found, arrays=arrays)

    return case


def _arrays(graph: Graph, seed: int, variance: tuple[float, float] | None = None) -> dict[str, Array]:
    """Weights in general position."""
    arrays = general_position(graph, seed)
    if variance is not None:
        for name in [name for name in arrays if weight_parts(name)[1] == "running_var"]:
            arrays[name] = stream(seed, "fault weights", name).uniform(*variance, arrays[name].shape).astype(np.float32)
    return arrays


def case_of(graph: Graph, options: ProgramOptions, seed: int, batch: int = 2) -> Case:
    """A network on normal inputs, its weights in general position.

    Args:
        graph: The network.
        options: Of its program.
        seed: Of inputs and weights.
        batch: Images.
    """
    draw = stream(seed, "fault inputs")
    inputs = {item.name: draw.normal(size=item.full_shape(batch)).astype(np.float32) for item in graph.inputs}
    return Case(graph, _arrays(graph, seed), inputs, options, seed=seed)


def classifier(training: TrainingSteps) -> Configuration:
    """A linear classifier of five classes under the given loss and update rule."""

    def case(options: ProgramOptions, seed: int) -> Case:
        builder = Builder("linear classifier")
        x = builder.input("x", (6,))
        graph = builder.build({"logits": builder.add("fc", Linear(out_features=5), x)})
        return _trained(graph, options, seed, training)

    return case


def applied_twice(layer: Layer, training: TrainingSteps) -> Configuration:
    """The suspect, applied once more behind a ReLU with the same weights, in a classifier of three classes."""

    def case(options: ProgramOptions, seed: int) -> Case:
        builder = Builder("applied twice")
        x = builder.add("relu", ReLU(), builder.add(SUSPECT, layer, builder.input("image", (3, 6, 5))))
        x = builder.add("pool", GlobalAvgPool(), builder.add("again", layer, x, weights_of=SUSPECT))
        graph = builder.build({"logits": builder.add("fc", Linear(out_features=3), x)})
        return _trained(graph, options, seed, training)

    return case


def _trained(graph: Graph, options: ProgramOptions, seed: int, training: TrainingSteps) -> Case:
    """Four images and their classes for a classifier of one input."""
    (item,), classes = graph.inputs, graph.shapes()[graph.outputs[0][1]][1]
    return Case(
        graph=graph,
        arrays=_arrays(graph, seed),
        batch={item.name: stream(seed, "fault inputs").normal(size=item.full_shape(4)).astype(np.float32)},
        options=options,
        targets=stream(seed, "fault targets").integers(0, classes, 4),
        seed=seed,
        training=training,
    )


SMOOTHED = TrainingSteps(loss=CrossEntropy(label_smoothing=0.1))
DECAYED = TrainingSteps(SGD(momentum=0.9, weight_decay=0.05, decay="kernels"), CrossEntropy())
