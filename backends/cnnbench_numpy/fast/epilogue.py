"""What follows a layer on the block that it has just computed, while the block is in the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import BatchNorm, Layer
from cnnbench_numpy.fast.activation import activate

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Block = Callable[[Array, slice, slice], None]  # (block of (M, C), its rows, its columns), changed in place


@dataclass(frozen=True)
class KernelOperands:
    """What one call of a fused step receives."""

    inputs: Arrays
    weights: Arrays
    state: Arrays


@dataclass(frozen=True)
class Bias:
    """+ b, by the position of b among the step's weights."""

    weight: int

    def bind(self, operands: KernelOperands) -> Block:
        """The function of a block."""
        bias = operands.weights[self.weight]

        def add(block: Array, rows: slice, columns: slice) -> None:
            np.add(block, bias[columns], out=block)

        return add


@dataclass(frozen=True)
class Scale:
    """x scale + shift with a batch norm's or a channel affine's values, by their first positions."""

    layer: Any
    weight: int
    state: int

    def factors(self, operands: KernelOperands) -> tuple[Array, Array]:
        """(scale, shift): weight / std and bias - mean scale of a batch norm at inference."""
        weights = operands.weights[self.weight : self.weight + 2]
        if not isinstance(self.layer, BatchNorm):
            return weights[0], weights[1]
        mean, variance = operands.state[self.state : self.state + 2]
        scale = 1 / np.sqrt(variance + self.layer.eps)
        if not self.layer.affine:
            return scale, -mean * scale
        scale = scale * weights[0]
        return scale, weights[1] - mean * scale

    def bind(self, operands: KernelOperands) -> Block:
        """The function of a block."""
        scale, shift = self.factors(operands)

        def apply(block: Array, rows: slice, columns: slice) -> None:
            np.multiply(block, scale[columns], out=block)
            np.add(block, shift[columns], out=block)

        return apply


@dataclass(frozen=True)
class Residual:
    """+ another value of the same shape, by its position among the step's inputs."""

    input: int

    def bind(self, operands: KernelOperands) -> Block:
        """The function of a block."""
        other = np.atleast_1d(operands.inputs[self.input])
        flat = other.reshape(-1, other.shape[-1])

        def add(block: Array, rows: slice, columns: slice) -> None:
            np.add(block, flat[rows, columns], out=block)

        return add


@dataclass(frozen=True)
class Rectify:
    """max(x, 0)."""

    def bind(self, operands: KernelOperands) -> Block:
        """The function of a block."""

        def rectify(block: Array, rows: slice, columns: slice) -> None:
            np.maximum(block, 0, out=block)

        return rectify


@dataclass(frozen=True)
class Activate:
    """A smooth or clipped activation, one of ``activation.IN_PLACE``."""

    layer: Layer

    def bind(self, operands: KernelOperands) -> Block:
        """The function of a block."""
        layer = self.layer

        def apply(block: Array, rows: slice, columns: slice) -> None:
            activate(layer, block)

        return apply


Stage = Bias | Scale | Residual | Rectify | Activate
Epilogue = tuple[Stage, ...]


def bind(epilogue: Epilogue, operands: KernelOperands) -> Block:
    """All stages of an epilogue as one function of a block."""
    stages = [stage.bind(operands) for stage in epilogue]

    def apply(block: Array, rows: slice, columns: slice) -> None:
        for stage in stages:
            stage(block, rows, columns)

    return apply
