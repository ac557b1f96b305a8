"""Embeddings of tokens and of time."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.embedding import TimestepEmbedding, TokenEmbedding
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


@OPERATIONS.register("token_embedding")
def token_embedding(layer: TokenEmbedding, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``functional.embedding``."""
    return OpResult((functional.embedding(inputs[0], weights[0], layer.padding_idx),))


def _frequencies(layer: TimestepEmbedding, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _made(layer, dtype, device)


def mark_constants() -> None:
    """Tells Dynamo what is constant. Called where a program is compiled: to import Dynamo takes longer than PyTorch."""
    torch.compiler.assume_constant_result(_frequencies)


@lru_cache(maxsize=64)
def _made(layer: TimestepEmbedding, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in inference mode could not take part in a gradient later
        return torch.tensor(layer.frequencies(), dtype=dtype, device=device)


@OPERATIONS.register("timestep_embedding")
def timestep_embedding(
    layer: TimestepEmbedding, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """Angles in float32 at least."""
    t = inputs[0]
    wide = torch.promote_types(t.dtype, torch.float32)
    angles = t.reshape(-1, 1).to(wide) * _frequencies(layer, wide, t.device)
    sine, cosine = angles.sin(), angles.cos()
    y = torch.cat((sine, cosine) if layer.order == "sin_cos" else (cosine, sine), 1)
    return OpResult((functional.pad(y, (0, layer.features % 2)).to(t.dtype),))
