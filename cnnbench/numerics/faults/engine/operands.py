"""Small networks around a suspect whose operands differ in shape or must be of a special kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.configurations import SUSPECT, Configuration
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers import ChannelAffine, Layer, Shape
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.streams import stream

Preparation = Callable[[Builder, Value, str], Value]
"""(builder, a normal value, a name that is free) -> an operand. The functions below are such preparations."""


def halves(builder: Builder, x: Value, name: str) -> Value:
    """Multiples of a half, of which every other one lies between two integers.

    Args:
        builder: Where the nodes go.
        x: Normal numbers of any shape, which the result keeps.
        name: What the nodes' names start with.
    """
    whole = builder.add(
        f"{name}.round", Elementwise(function="round"), builder.add(f"{name}.wide", Affine(scale=5.0), x)
    )
    return builder.add(f"{name}.half", Affine(scale=0.5), whole)


def whole(builder: Builder, x: Value, name: str) -> Value:
    """Whole numbers, many of them equal.

    Args:
        builder: Where the node goes.
        x: Normal numbers of any shape, which the result keeps.
        name: What the node's name starts with.
    """
    return builder.add(f"{name}.round", Elementwise(function="round"), x)


def positive(builder: Builder, x: Value, name: str) -> Value:
    """Numbers from 0.5 on.

    Args:
        builder: Where the nodes go.
        x: Normal numbers of any shape, which the result keeps.
        name: What the nodes' names start with.
    """
    away = builder.add(f"{name}.abs", Elementwise(function="abs"), x)
    return builder.add(f"{name}.shift", Affine(shift=0.5), away)


def far(builder: Builder, x: Value, name: str) -> Value:
    """Numbers around 100, whose exponentials float32 does not hold.

    Args:
        builder: Where the node goes.
        x: Normal numbers of any shape, which the result keeps.
        name: What the node's name starts with.
    """
    return builder.add(f"{name}.shift", Affine(scale=5.0, shift=100.0), x)


@dataclass(frozen=True)
class FedOperands:
    """What a suspect reads.

    Args:
        images: (C, *spatial) of each operand. prepare: what is made of each before the suspect reads it.
        batch: Images.
    """

    images: tuple[Shape, ...]
    prepare: Preparation | None = None
    batch: int = 2


def fed(layer: Layer, operands: FedOperands) -> Configuration:
    """A trained affine map before each operand, the suspect, and a function of its own after it."""

    def case(options: ProgramOptions, seed: int) -> Case:
        builder = Builder("suspect network")
        inputs = [builder.input(f"image{i}", image) for i, image in enumerate(operands.images)]
        values = [builder.add(f"before{i}", ChannelAffine(), x) for i, x in enumerate(inputs)]
        if operands.prepare is not None:
            values = [operands.prepare(builder, x, f"prepared{i}") for i, x in enumerate(values)]
        outputs = builder.add_all(SUSPECT, layer, *values)
        if outputs[0].dtype == "float":
            outputs = (builder.add("after", Affine(scale=2.0, shift=1.0), outputs[0]), *outputs[1:])
        graph = builder.build(outputs)
        arrays = {
            spec.name: stream(seed, "fault weights", spec.name).uniform(0.5, 1.5, spec.shape).astype(np.float32)
            for spec in graph.named_weights()
        }
        batch = {
            item.name: stream(seed, "fault inputs", item.name)
            .normal(size=item.full_shape(operands.batch))
            .astype(np.float32)
            for item in graph.inputs
        }
        return Case(graph, arrays, batch, options, seed=seed)

    return case
