"""A suspect on operands that are drawn for it: boxes, indices, labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.configurations import SUSPECT, Configuration
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Layer, Shape
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

Array = NDArray[Any]
Draw = Callable[[np.random.Generator, Shape], Array]


def normal(scale: float = 1.0) -> Draw:
    """Normal values."""
    return lambda generator, shape: generator.normal(size=shape) * scale


def boxes(size: float) -> Draw:
    """Boxes within an image of this size, a few pixels wide at least; halves and quarters are among the coordinates."""

    def draw(generator: np.random.Generator, shape: Shape) -> Array:
        first = generator.uniform(0, 0.6 * size, (*shape[:-1], 2))
        last = first + generator.uniform(0.1, 0.4, first.shape) * size
        return np.asarray(np.round(np.concatenate([first, last], -1) * 4) / 4)

    return draw


def lattice(generator: np.random.Generator, shape: Shape) -> Array:
    """Boxes 2 by 1 on a line, one after another: neighbours overlap by a third, exactly."""
    first = np.arange(shape[-2], dtype=float)
    row = np.stack([first, first * 0, first + 2, first * 0 + 1], -1)
    return np.broadcast_to(row, shape).copy()


def crowd(generator: np.random.Generator, shape: Shape) -> Array:
    """Boxes around a few places, of about the same size."""
    centre = generator.integers(0, 3, (*shape[:-1], 2)) * 8.0
    half = generator.uniform(3, 5, centre.shape)
    return np.concatenate([centre - half, centre + half], -1)


CLASS_GAP = 64.0


def crowds(generator: np.random.Generator, shape: Shape) -> Array:
    """A crowd of each of three classes, set apart by ``CLASS_GAP``; before that all lie between 0 and it."""
    kinds = generator.integers(0, 3, (*shape[:-1], 1))
    return crowd(generator, shape) + 8.0 + kinds * CLASS_GAP


def integers(count: int, *, ignored: int | None = None) -> Draw:
    """Indices below a number; every other one is ignored."""

    def draw(generator: np.random.Generator, shape: Shape) -> Array:
        found = generator.integers(0, count, shape)
        if ignored is not None:
            found.reshape(-1)[1::2] = ignored
        return found

    return draw


def shares(generator: np.random.Generator, shape: Shape) -> Array:
    """Numbers between 0 and 1."""
    return generator.uniform(0.05, 0.95, shape)


@dataclass(frozen=True)
class Drawn:
    """An operand: its shape, with the batch axis unless it has none, and how it is drawn."""

    shape: Shape
    draw: Draw
    batched: bool = True


def on(layer: Layer, *operands: Drawn, batch: int = 2) -> Configuration:
    """The suspect on its operands, and where it gives floats a function of its own after it."""

    def case(options: ProgramOptions, seed: int) -> Case:
        builder = Builder("suspect network")
        arrays = {}
        for i, operand in enumerate(operands):
            shape = (batch, *operand.shape) if operand.batched else operand.shape
            arrays[f"operand{i}"] = operand.draw(stream(seed, "fault inputs", f"operand{i}"), shape)
        values = [
            builder.input(
                name, operand.shape, dtype="int" if a.dtype.kind in "iu" else "float", batched=operand.batched
            )
            for (name, a), operand in zip(arrays.items(), operands, strict=True)
        ]
        outputs = builder.add_all(SUSPECT, layer, *values)
        if outputs[0].dtype == "float":
            outputs = (builder.add("after", Affine(scale=2.0, shift=1.0), outputs[0]), *outputs[1:])
        graph = builder.build(outputs)
        weights = general_position(graph, seed)
        given = {name: a if a.dtype.kind in "iu" else a.astype(np.float32) for name, a in arrays.items()}
        return Case(graph, weights, given, options, seed=seed)

    return case
