"""Trainings of experiments: small networks on the digits, both sides of a comparison tuned with the same budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.claims.laboratory import Laboratory
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv, GlobalAvgPool, Layer, Linear, ReLU
from cnnbench.spec.layers.merge import Add
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import initialize
from cnnbench.training.dataset import Dataset
from cnnbench.training.loop import train
from cnnbench.training.result import TrainingResult
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

IMAGE = (1, 8, 8)
CLASSES = 10
RATES = (0.01, 0.03, 0.1, 0.3)
TUNING_SEEDS = (1000, 1001)  # never those of figures
HELD_OUT = 5  # one in so many training images decides on the rate

Draw = Callable[[Graph, int], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Trial:
    """One side of a comparison.

    Args:
        graph: Of one image of 8 x 8 pixels to ten logits.
        settings: Of its training; the seed is set for each repetition.
        draw: (graph, seed) -> the initial arrays.
        rates: The learning rates among which tuning chooses.
    """

    graph: Graph
    settings: TrainSettings
    draw: Draw = initialize
    rates: Sequence[float] = field(default=RATES)

    def train(self, laboratory: Laboratory, seed: int) -> TrainingResult:
        """The training of one seed, in float32."""
        return train(self._task(TrainingTask, laboratory, seed))

    def held_out(self, laboratory: Laboratory, seed: int) -> TrainingResult:
        """The same, evaluated on a fifth of the training images, which it leaves out."""
        return train(self._task(_Tuning, laboratory, seed))

    def accuracies(self, laboratory: Laboratory) -> tuple[float, ...]:
        """The test accuracy after the training of each seed, at the rate that tuning found."""
        tuned = self.tuned(laboratory)
        return laboratory.over_seeds(lambda seed: float(tuned.train(laboratory, seed).test_accuracy or 0))

    def tuned(self, laboratory: Laboratory) -> Trial:
        """The same at the rate whose loss on held-out training images is least, over two seeds of its own."""

        def loss(rate: float) -> float:
            there = replace(self, settings=replace(self.settings, learning_rate=rate))
            found = [there.held_out(laboratory, seed).epochs[-1].test_loss for seed in TUNING_SEEDS]
            return math.fsum(math.inf if item is None or not math.isfinite(item) else item for item in found)

        return replace(self, settings=replace(self.settings, learning_rate=min(self.rates, key=loss)))

    def _task(self, kind: type[TrainingTask], laboratory: Laboratory, seed: int) -> TrainingTask:
        settings = replace(self.settings, seed=seed)
        options = replace(laboratory.options, precision=precision("float32"))
        return kind(laboratory.backend, self.graph, self.draw(self.graph, seed), settings, options)


@dataclass(frozen=True, eq=False)
class _Tuning(TrainingTask):
    """A training that is evaluated on training images that it leaves out, so that no test image decides on a rate."""

    def data(self, split: str) -> Dataset:
        found = super().data("train")
        held = np.arange(len(found)) % HELD_OUT == 0
        return found.take(np.flatnonzero(held if split == "test" else ~held))


def chain(*layers: Layer | tuple[Layer, ...], size: int = IMAGE[-1]) -> Graph:
    """Layers one after the other on an image, then the mean over all positions and ten logits.

    Args:
        layers: A tuple of layers is a residual branch: its input is added to what it gives.
        size: Of the image, to which the digits are shrunk.
    """
    builder = Builder("experiment")
    x = builder.input("image", (1, size, size))
    for number, item in enumerate(layers):
        if isinstance(item, tuple):
            y = x
            with builder.scope(str(number)):
                for place, layer in enumerate(item):
                    y = builder.add(str(place), layer, y)
                x = builder.add("add", Add(), y, x)
        else:
            x = builder.add(str(number), item, x)
    x = builder.add("pool", GlobalAvgPool(), x)
    return builder.build({"logits": builder.add("logits", Linear(out_features=CLASSES), x)})


def conv(filters: int, stride: int = 1) -> Conv:
    """A 3x3 convolution that keeps the size, or halves it with stride 2."""
    return Conv(out_channels=filters, kernel_size=3, stride=stride, padding=1)


RELU = ReLU()


def started(graph: Graph, seed: int, gain: float) -> dict[str, NDArray[Any]]:
    """Initial weights: kernels normal with variance gain^2 / fan in, biases 0.

    Args:
        graph: Of convolutions and matrix products.
        seed: Of the draw.
        gain: 1 is Xavier's (Glorot and Bengio 2010), the root of 2 He's (2015).
    """
    found = dict(initialize(graph, seed))
    for name, array in found.items():
        drawn = stream(seed, "claims", name).normal(size=array.shape)
        kernel = array.ndim > 1
        found[name] = (drawn * gain / math.sqrt(array[0].size) if kernel else 0 * drawn).astype(np.float32)
    return found


def less(some: tuple[float, ...], others: tuple[float, ...]) -> tuple[float, ...]:
    """The differences, seed by seed."""
    return tuple(one - other for one, other in zip(some, others, strict=True))
