"""Layers that join values: cases shared by all backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import Add, Concat, Shape
from cnnbench.spec.layers.merge import Divide, Maximum, Mean, Minimum, Multiply, PowerOf, Select, Subtract

GATE: tuple[Shape, ...] = ((4, 8, 10), (4, 1, 1))  # a value for each channel
POSITION: tuple[Shape, ...] = ((4, 1, 10), (1, 8, 10))  # each is repeated along an axis of the other
THREE: tuple[Shape, ...] = ((4, 8, 1), (1, 8, 10), (4, 1, 10))


def _away_from_zero(generator: Any, shape: Shape) -> Any:
    return generator.uniform(0.3, 3.0, shape) * np.where(generator.random(shape) < 0.5, -1, 1)


def _positive(generator: Any, shape: Shape) -> Any:
    return generator.uniform(0.1, 4.0, shape)


def _whole(generator: Any, shape: Shape) -> Any:
    return generator.integers(0, 4, shape).astype(np.float32)


def _few(generator: Any, shape: Shape) -> Any:
    return generator.integers(-1, 2, shape).astype(np.float32)


CASES = {
    "add/three": LayerCase(Add(), EVEN * 3),
    "add/broadcast_channels": LayerCase(Add(broadcast=True), GATE),
    "add/broadcast_first": LayerCase(Add(broadcast=True), (GATE[1], GATE[0])),
    "add/broadcast_both": LayerCase(Add(broadcast=True), POSITION),
    "add/broadcast_batch": LayerCase(Add(broadcast=True), ((4, 6), (1, 4, 6)), batched=(True, False)),
    "multiply/plain": LayerCase(Multiply(), EVEN * 2),
    "multiply/gate": LayerCase(Multiply(), GATE),
    "multiply/gate_first": LayerCase(Multiply(), (GATE[1], GATE[0])),
    "multiply/each_repeated": LayerCase(Multiply(), POSITION),
    "multiply/three": LayerCase(Multiply(), THREE),
    "multiply/one_image": LayerCase(Multiply(), EVEN * 2, batch=1),
    "subtract/plain": LayerCase(Subtract(), EVEN * 2),
    "subtract/each_repeated": LayerCase(Subtract(), POSITION),
    "subtract/rows": LayerCase(Subtract(), ((6,), (1,)), batch=3),
    "divide/plain": LayerCase(Divide(), EVEN * 2, draws=(None, _away_from_zero)),
    "divide/each_repeated": LayerCase(Divide(), POSITION, draws=(None, _away_from_zero)),
    "power/plain": LayerCase(PowerOf(), EVEN * 2, draws=(_positive, None)),
    "power/each_repeated": LayerCase(PowerOf(), POSITION, draws=(_positive, None)),
    "minimum/two": LayerCase(Minimum(), EVEN * 2),
    "minimum/three_repeated": LayerCase(Minimum(), THREE),
    "minimum/equals": LayerCase(Minimum(), EVEN * 2, draws=(_few, _few)),
    "maximum/one": LayerCase(Maximum(), EVEN),
    "maximum/three_repeated": LayerCase(Maximum(), THREE),
    "maximum/three_equals": LayerCase(Maximum(), EVEN * 3, draws=(_few, _few, _few), differences=False),
    "mean/one": LayerCase(Mean(), EVEN),
    "mean/three": LayerCase(Mean(), EVEN * 3),
    "mean/repeated": LayerCase(Mean(), POSITION),
    # differences would move a condition away from 0
    "select/plain": LayerCase(Select(), EVEN * 3, draws=(_few, None, None), differences=False),
    "select/repeated": LayerCase(
        Select(), ((1, 8, 10), (4, 1, 1), (4, 8, 10)), draws=(_few, None, None), differences=False
    ),
    "concat/channels": LayerCase(Concat(), ((2, 5, 5), (3, 5, 5))),
    "concat/last": LayerCase(Concat(axis=-1), ((3, 5, 2), (3, 5, 4))),
}
