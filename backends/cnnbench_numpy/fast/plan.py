"""Rewrites a bound inference program for operands of one shape: fused kernels over buffers that are used again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.operations import Call, Operations, OpResult
from cnnbench.execution.program import BoundStep, Program
from cnnbench.execution.winograd import winograd_of
from cnnbench.spec.graph import value_names
from cnnbench.spec.layers import Shape
from cnnbench_numpy.fast.activation import IN_PLACE
from cnnbench_numpy.fast.epilogue import KernelOperands
from cnnbench_numpy.fast.fusion import FusedStep, Role, fuse
from cnnbench_numpy.fast.kernels import (
    ConvKernel,
    ElementwiseKernel,
    GlobalAvgPoolKernel,
    Kernel,
    LinearKernel,
    MaxPoolKernel,
    Workspace,
)
from cnnbench_numpy.fast.memory import BufferPlan
from cnnbench_numpy.fast.team import Team
from cnnbench_numpy.fast.winograd import WinogradKernel

Array = NDArray[Any]

SPATIAL = ("conv", "max_pool", "global_avg_pool", "batch_norm", "channel_affine")
KINDS = (*SPATIAL, "add", "relu", "linear", *IN_PLACE)
# Kinds without a kernel whose op returns an array of its own; of any other it may be its operand's memory.
FRESH = (
    "adaptive_avg_pool",
    "avg_pool",
    "concat",
    "elementwise",
    "global_max_pool",
    "log_softmax",
    "matmul",
    "partial_conv",
    "softmax",
    "tanh",
    "trainable_subsample",
)


@dataclass(frozen=True)
class FloatArithmetic:
    """The dtype of all floats, and whether Winograd's convolutions are admitted."""

    dtype: Any
    winograd: bool = False


def plan(program: Program, native: Operations, inputs: Sequence[Shape], how: FloatArithmetic, team: Team) -> Program:
    """The program with its steps fused, run by kernels where there are some, and its buffers assigned.

    Args:
        program: Bound for inference.
        native: The fast mode's own ops; a step with another op (a plugin's, a fault's) runs that op unchanged.
        inputs: The shapes of the program's operands.
        how: The policy's arithmetic.
        team: The threads.
    """
    shapes = _slot_shapes(program, inputs)

    def role_of(step: BoundStep) -> Role:
        kind = step.layer.kind
        if kind not in native or step.forward is not native[kind].forward or kind not in (*KINDS, *FRESH):
            return "view"
        has_layout = len(shapes[step.inputs[0]]) == 2 or step.call.channels_last or kind not in SPATIAL
        broadcasts = kind == "add" and len({shapes[slot] for slot in step.inputs}) > 1
        return "kernel" if kind in KINDS and has_layout and not broadcasts else "fresh"

    fused = fuse(program, role_of)
    workspace = Workspace(how.dtype, team.size)
    kernels = [
        _kernel(item, shapes, team, workspace, winograd=how.winograd) if item.role == "kernel" else None
        for item in fused
    ]
    memory = BufferPlan(program, fused, shapes, how.dtype)
    steps = []
    for position, (item, kernel) in enumerate(zip(fused, kernels, strict=True)):
        forward = item.step.forward
        if kernel is not None:
            forward = _run_kernel(kernel, memory.take(position), shapes[item.outputs[0]], how.dtype)
        elif _may_stay_a_view(item, fused, kernels):
            forward = _transposed
        memory.give_back(position)
        steps.append(
            replace(
                item.step,
                forward=forward,
                inputs=item.inputs,
                outputs=item.outputs,
                weights=item.weights,
                state=item.state,
                free=memory.free(position),
                members=item.members,
                algorithm=kernel.algorithm if kernel is not None else "",
            )
        )
    return replace(program, steps=tuple(steps))


def _slot_shapes(program: Program, inputs: Sequence[Shape]) -> dict[int, Shape]:
    """The shape of every slot in the layout in which it is held."""
    graph = program.graph
    batched = [shape[0] for item, shape in zip(graph.inputs, inputs, strict=True) if item.batched]
    named = graph.shapes(batched[0] if batched else 1)
    shapes = dict(zip(program.inputs, inputs, strict=True))
    for step in program.steps:
        if isinstance(step.layer, LayoutChange):
            source = shapes[step.inputs[0]]
            shapes[step.outputs[0]] = tuple(source[axis] for axis in step.layer.permutation(len(source)))
            continue
        for slot, value in zip(step.outputs, value_names(step.name, len(step.outputs)), strict=True):
            shape = named[value]
            last = step.call.channels_last and len(shape) > 2
            shapes[slot] = (shape[0], *shape[2:], shape[1]) if last else shape
    return shapes


def _kernel(
    item: FusedStep, shapes: dict[int, Shape], team: Team, workspace: Workspace, *, winograd: bool = False
) -> Kernel:
    x, layer = shapes[item.inputs[0]], item.step.layer
    match item.kind:
        case "conv":
            form = winograd_of(layer, (x[0], x[-1], *x[1:-1])) if winograd else None
            if form is not None:
                return WinogradKernel(layer, x, form, item.stages, team, workspace)  # type: ignore[arg-type]
            return ConvKernel(layer, x, item.stages, team, workspace)  # type: ignore[arg-type]
        case "max_pool":
            return MaxPoolKernel(layer, x, team)  # type: ignore[arg-type]
        case "global_avg_pool":
            return GlobalAvgPoolKernel()
        case "linear":
            return LinearKernel(layer, item.stages, team)  # type: ignore[arg-type]
    return ElementwiseKernel(x, item.stages, team)


def _run_kernel(kernel: Kernel, buffer: Array | None, shape: Shape, dtype: Any) -> Any:
    """An op that fills the planned buffer, or where there is none an array of its own."""
    held = None if buffer is None else buffer[: math.prod(shape)].reshape(shape)

    def forward(
        layer: Any, inputs: tuple[Array, ...], weights: tuple[Array, ...], state: tuple[Array, ...], call: Call
    ) -> OpResult:
        out = np.empty(shape, dtype) if held is None else held
        kernel.run(KernelOperands(inputs, weights, state), out)
        return OpResult((out,))

    return forward


def _may_stay_a_view(item: FusedStep, fused: list[FusedStep], kernels: Sequence[Kernel | None]) -> bool:
    """Whether a layout change to channels-last needs no copy: only gathering convolutions read it."""
    layer = item.step.layer
    if not isinstance(layer, LayoutChange) or layer.to != "channels_last":
        return False
    readers = [k for other, k in zip(fused, kernels, strict=True) if item.outputs[0] in other.inputs]
    gathers = (isinstance(k, WinogradKernel) or (isinstance(k, ConvKernel) and k.patches is not None) for k in readers)
    return all(gathers)


def _transposed(
    layer: LayoutChange, inputs: tuple[Array, ...], weights: tuple[Array, ...], state: tuple[Array, ...], call: Call
) -> OpResult:
    return OpResult((inputs[0].transpose(layer.permutation(inputs[0].ndim)),))
