"""Fixed tables, kept on the device between calls."""

from __future__ import annotations

from functools import lru_cache
from types import FunctionType

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, Forward, OpResult
from cnnbench.spec.layers.tables import Table
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@lru_cache(maxsize=64)
def _made(layer: Table, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in inference mode could not take part in a gradient later
        return torch.tensor(layer.values(), dtype=dtype, device=device)


@OPERATIONS.register("sinusoid_table")
@OPERATIONS.register("causal_mask")
@OPERATIONS.register("constant_table")
@OPERATIONS.register("shifted_window_mask")
@OPERATIONS.register("relative_offsets")
def table(layer: Table, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The layer's values. A compiled program has ``constant_table`` in its place."""
    return OpResult((_made(layer, inputs[0].dtype, inputs[0].device),))


def constant_table(layer: Table, name: str) -> Forward:
    """The op of one node of a compiled program, which takes the layer's values as a constant.

    Dynamo of PyTorch 2.13 names a constant by the code object of the function that gives it, and refuses two of one
    name: ``name`` is the program's own for this node. It also fails on a constant that is an output of the program
    itself, so it gets a copy, which the compiler fuses into whatever reads it.
    """

    def held(dtype: torch.dtype, device: torch.device) -> Tensor:
        return _made(layer, dtype, device)

    code = held.__code__.replace(co_name=name)
    own = torch.compiler.assume_constant_result(FunctionType(code, held.__globals__, name, None, held.__closure__))

    def forward(layer: Table, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
        return OpResult((own(inputs[0].dtype, inputs[0].device).clone(),))

    return forward
