"""The bound walk as PyTorch runs it: plain, or compiled into one graph."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cnnbench.execution.losses import LossFunction
from cnnbench.execution.operands import ProgramOperands
from cnnbench.execution.program import BoundStep, Program
from cnnbench.spec.layers.tables import Table
from cnnbench_torch.ops.embedding import mark_constants
from cnnbench_torch.ops.tables import constant_table


class TorchPass(NamedTuple):
    """A forward pass: the outputs, the state after it (None: unchanged), and the loss where there is one."""

    outputs: tuple[Tensor, ...]
    state: tuple[Tensor, ...] | None
    loss: Tensor | None


Walk = Callable[[ProgramOperands, Sequence[Tensor], Sequence[Tensor]], TorchPass]


class WalkModule(torch.nn.Module):
    """The walk as a module; weights and state are operands, so that training can replace them."""

    def __init__(self, program: Program, loss: LossFunction | None) -> None:
        super().__init__()
        self.program = program
        self.loss = loss

    def forward(self, operands: ProgramOperands, weights: Sequence[Tensor], state: Sequence[Tensor]) -> TorchPass:
        """One pass, and the loss of the main output.

        Args:
            operands: The batch.
            weights: In the order of the bound program.
            state: In that order, too.
        """
        result = self.program.forward(operands.inputs, weights, state, operands.masks)
        value = None if self.loss is None else self.loss(result.outputs[0], operands.targets)
        # Compiled code would hand every unchanged tensor through once more.
        return TorchPass(result.outputs, tuple(result.state) if self.program.training else None, value)


def make_walk(program: Program, mode: str, loss: LossFunction | None = None) -> Walk:
    """The walk in a mode: ``eager``, or ``compile`` by ``torch.compile`` as one whole graph.

    Dynamo keeps compiled code by code object and gives up after a few for one object, so every program gets a code
    object of its own. Its guards on the walk's constants are dropped: nothing can change them; those on tensors stay.

    Args:
        program: Bound.
        mode: ``eager`` or ``compile``.
        loss: Of the main output; None for a forward pass.
    """
    if mode == "eager":
        return WalkModule(program, loss).forward
    mark_constants()
    module = WalkModule(replace(program, steps=tuple(map(_own_constants, count(), program.steps))), loss)

    def walk(operands: ProgramOperands, weights: Sequence[Tensor], state: Sequence[Tensor]) -> TorchPass:
        return module(operands, weights, state)

    own = FunctionType(walk.__code__.replace(), walk.__globals__, walk.__name__, None, walk.__closure__)
    return torch.compile(own, fullgraph=True, dynamic=False, **_guard_options())


def _own_constants(position: int, step: BoundStep) -> BoundStep:
    if not isinstance(step.layer, Table):
        return step
    return replace(step, forward=constant_table(step.layer, f"table_{position}"))


@functools.cache
def _guard_options() -> dict[str, Any]:
    keep_tensor_guards = getattr(torch.compiler, "keep_tensor_guards_unsafe", None)
    return {} if keep_tensor_guards is None else {"options": {"guard_filter_fn": keep_tensor_guards}}
