"""Fixed tables, kept on the device between calls."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.tables import Table
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _held(layer: Table, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _made(layer, dtype, device)


@lru_cache(maxsize=64)
def _made(layer: Table, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in inference mode could not take part in a gradient later
        return torch.tensor(layer.values(), dtype=dtype, device=device)


@OPERATIONS.register("sinusoid_table")
@OPERATIONS.register("causal_mask")
@OPERATIONS.register("shifted_window_mask")
@OPERATIONS.register("relative_offsets")
def table(layer: Table, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The layer's values, which a compiled program takes as a constant.

    Dynamo of PyTorch 2.13 fails on a constant that is an output of the program itself, so it gets a copy, which the
    compiler fuses into whatever reads it.
    """
    held = _held(layer, inputs[0].dtype, inputs[0].device)
    return OpResult((held.clone() if torch.compiler.is_compiling() else held,))
