"""The fast mode's kernels for inference: each fills a given output block by block and ends every block's epilogue."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import Conv, Linear, MaxPool, Shape
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_numpy.fast.conv import ConvGeometry, ConvRegion, Patches, product
from cnnbench_numpy.fast.depthwise import Depthwise
from cnnbench_numpy.fast.epilogue import Bias, Epilogue, KernelOperands, Rectify, Residual, Scale, bind
from cnnbench_numpy.fast.team import Team

Array = NDArray[Any]

BLOCK_ELEMENTS = 1 << 16


@dataclass
class Workspace:
    """One flat buffer for each worker, shared by all layers of a program."""

    dtype: Any
    workers: int
    elements: int = 0

    def reserve(self, elements: int) -> None:
        """Makes the buffers at least this long."""
        if elements > self.elements:
            self.elements = elements
            self.__dict__.pop("_buffers", None)

    def buffer(self, worker: int) -> Array:
        """The worker's own."""
        buffers = self.__dict__.get("_buffers")
        if buffers is None:
            buffers = [np.empty(self.elements, self.dtype) for _ in range(self.workers)]
            self.__dict__["_buffers"] = buffers
        result: Array = buffers[worker]
        return result


class Kernel(ABC):
    """One fused step for operands of one shape.

    Attributes:
        algorithm: Its name, where there are several for the kind.
    """

    algorithm = ""

    @abstractmethod
    def run(self, operands: KernelOperands, out: Array) -> None:
        """Fills ``out``."""


class ConvKernel(Kernel):
    """A convolution and its epilogue."""

    def __init__(self, layer: Conv, x: Shape, epilogue: Epilogue, team: Team, workspace: Workspace) -> None:
        self.geometry = ConvGeometry(layer, x, np.dtype(workspace.dtype).itemsize)
        self.regions = self.geometry.regions(team.size)
        self.epilogue = epilogue
        self.team = team
        self.workspace = workspace
        self.patches: Patches | None = None
        self.depthwise: Depthwise | None = None
        if not self.geometry.pointwise:
            self.patches = Patches(self.geometry, self.regions, workspace.dtype, team.size)
            self.depthwise = Depthwise(self.geometry) if self.geometry.depthwise else None
            if self.depthwise is None:
                workspace.reserve(self.patches.workspace_size(self.regions))
        self.algorithm = "1x1" if self.patches is None else "direct" if self.depthwise is None else "depthwise"

    def run(self, operands: KernelOperands, out: Array) -> None:
        x, weight = operands.inputs[0], operands.weights[0]
        if self.patches is None or self.depthwise is not None:
            x = np.ascontiguousarray(x)
        if self.depthwise is not None:
            weight = self.depthwise.repeated(weight)
        flat = out.reshape(-1, out.shape[-1])
        then = bind(self.epilogue, operands)

        def task(worker: int, number: int) -> None:
            region = self.regions[number]
            rows, columns = self.geometry.flat(region), region.columns
            block = flat[rows, columns]
            self._fill(block, x, weight, region, worker)
            then(block, rows, columns)

        self.team.run(task, len(self.regions))

    def _fill(self, block: Array, x: Array, weight: Array, region: ConvRegion, worker: int) -> None:
        """The region's products."""
        if self.patches is None:
            rows = x.reshape(-1, x.shape[-1])[self.geometry.flat(region)]
            np.matmul(rows, weight[0, :, region.columns], out=block)
        elif self.depthwise is not None:
            self.depthwise.fill(self.patches.view(self.patches.source(x, region, worker), region), weight, block)
        else:
            patches = self.patches.gather(x, region, worker, self.workspace.buffer(worker))
            product(patches, weight[:, :, region.columns] if len(weight) == 1 else weight, block)


@lru_cache(maxsize=1024)
def conv_kernel(layer: Conv, x: Shape, dtype: str, team: Team) -> ConvKernel:
    """The kernel of a convolution on its own; all kernels of a dtype and team share their workspace.

    Args:
        layer: Resolved.
        x: The input's shape (N, *spatial, C).
        dtype: Of the input and the weight, as text.
        team: The threads.
    """
    return ConvKernel(layer, x, (Bias(1),) if layer.bias else (), team, _workspace(dtype, team))


@lru_cache(maxsize=8)
def _workspace(dtype: str, team: Team) -> Workspace:
    return Workspace(dtype, team.size)


class ElementwiseKernel(Kernel):
    """An epilogue alone, on a copy of the first input (or on it, where ``out`` is the input itself)."""

    def __init__(self, x: Shape, epilogue: Epilogue, team: Team) -> None:
        self.epilogue = epilogue
        self.team = team
        self.columns = x[-1] if x else 1
        positions = math.prod(x[:-1])
        step = max(1, min(BLOCK_ELEMENTS // max(self.columns, 1), -(-positions // team.size)))
        self.rows = [slice(i, min(i + step, positions)) for i in range(0, positions, step)]

    def run(self, operands: KernelOperands, out: Array) -> None:
        x = operands.inputs[0].reshape(-1, self.columns)
        flat = out.reshape(x.shape)
        first, *rest = self.epilogue
        then, columns = bind(tuple(rest), operands), slice(None)
        if isinstance(first, Residual):
            other = operands.inputs[first.input].reshape(x.shape)
        scale = first.factors(operands) if isinstance(first, Scale) else None
        start = first.bind(operands)

        def task(worker: int, number: int) -> None:
            rows = self.rows[number]
            block = flat[rows]
            if scale is not None:
                np.multiply(x[rows], scale[0], out=block)
                np.add(block, scale[1], out=block)
            elif isinstance(first, Residual):
                np.add(x[rows], other[rows], out=block)
            elif isinstance(first, Rectify):
                np.maximum(x[rows], 0, out=block)
            else:
                np.copyto(block, x[rows])
                start(block, rows, columns)
            then(block, rows, columns)

        self.team.run(task, len(self.rows))


class MaxPoolKernel(Kernel):
    """Max pooling one axis after the other; windows that reach into the padding are clipped."""

    def __init__(self, layer: MaxPool, x: Shape, team: Team) -> None:
        self.layer = layer
        self.team = team
        self.parts = [slice(c, min(c + 16, x[-1])) for c in range(0, x[-1], 16)] if team.size > 1 else [slice(None)]
        self.between: dict[tuple[int, int], Array] = {}  # by part and axis: what the next axis is pooled from
        window = layer.window()
        canonical = layer.output_shapes(((x[0], x[-1], *x[1:-1]),))[0]
        self.axes = [
            (
                axis + 1,
                x[axis + 1],
                canonical[axis + 2],
                window.kernel_size[axis],
                window.stride[axis],
                window.dilation[axis],
                require_pairs(layer.padding)[axis][0],
            )
            for axis in range(len(x) - 2)
        ]

    def run(self, operands: KernelOperands, out: Array) -> None:
        x = operands.inputs[0]

        def task(worker: int, number: int) -> None:
            value = x[..., self.parts[number]]
            for i, (axis, size, count, kernel, stride, dilation, begin) in enumerate(self.axes):
                last = i == len(self.axes) - 1
                target = out[..., self.parts[number]] if last else self._kept(number, axis, count, value)
                target[...] = -math.inf
                for k in range(kernel):
                    offset = k * dilation - begin
                    low = max(0, -(offset // stride)) if offset < 0 else 0
                    high = min(count, (size - 1 - offset) // stride + 1)
                    if high > low:
                        _maximum(
                            value,
                            target,
                            axis,
                            (low, high),
                            slice(low * stride + offset, (high - 1) * stride + offset + 1, stride),
                        )
                value = target

        self.team.run(task, len(self.parts))

    def _kept(self, part: int, axis: int, count: int, value: Array) -> Array:
        """The array for what an axis gives, made in the first pass."""
        found = self.between.get((part, axis))
        if found is None or found.dtype != value.dtype:
            shape = (*value.shape[:axis], count, *value.shape[axis + 1 :])
            found = self.between[part, axis] = np.empty(shape, value.dtype)
        return found


def _maximum(value: Array, target: Array, axis: int, outs: tuple[int, int], places: slice) -> None:
    before = (slice(None),) * axis
    part = target[(*before, slice(*outs))]
    np.maximum(part, value[(*before, places)], out=part)


class GlobalAvgPoolKernel(Kernel):
    """The mean over all positions of each image."""

    def run(self, operands: KernelOperands, out: Array) -> None:
        x = operands.inputs[0]
        np.mean(x.reshape(x.shape[0], -1, x.shape[-1]), axis=1, out=out.reshape(x.shape[0], x.shape[-1]))


class LinearKernel(Kernel):
    """A product with a part of the weight's rows for each worker, and its epilogue."""

    def __init__(self, layer: Linear, epilogue: Epilogue, team: Team) -> None:
        self.team = team
        step = -(-layer.out_features // team.size)
        self.columns = [slice(i, min(i + step, layer.out_features)) for i in range(0, layer.out_features, step)]
        self.epilogue = epilogue

    def run(self, operands: KernelOperands, out: Array) -> None:
        x = operands.inputs[0].reshape(-1, operands.inputs[0].shape[-1])
        flat = out.reshape(x.shape[0], -1)
        then, rows = bind(self.epilogue, operands), slice(None)

        def task(worker: int, number: int) -> None:
            columns = self.columns[number]
            block = flat[:, columns]
            np.matmul(x, operands.weights[0][columns].T, out=block)
            then(block, rows, columns)

        self.team.run(task, len(self.columns))
