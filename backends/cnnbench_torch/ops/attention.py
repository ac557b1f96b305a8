"""Attention by PyTorch's fused kernel, which never holds the whole matrix of weights."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.composites.attention import ScaledDotProductAttention
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


OPERATIONS.lacks(
    "scaled_dot_product_attention",
    "PyTorch gives 0 for a row whose scores are all -inf, where softmax is NaN",
    special_values="always",
)


@OPERATIONS.register("scaled_dot_product_attention")
def scaled_dot_product_attention(
    layer: ScaledDotProductAttention, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """``functional.scaled_dot_product_attention``, which takes a mask or ``is_causal`` and not both."""
    q, k, v = (x.unflatten(2, (layer.num_heads, -1)).transpose(1, 2) for x in inputs[:3])
    bias = inputs[3] if len(inputs) == 4 else None
    causal = layer.causal
    if bias is not None:
        bias = bias.expand(q.shape[0], layer.num_heads, q.shape[2], k.shape[2])
        if causal:
            seen = q.new_ones(q.shape[2], k.shape[2]).tril().bool()
            bias, causal = bias.masked_fill(~seen, float("-inf")), False
    scale = layer.scale_for(inputs[0].shape[2])
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal, scale=scale)
    return OpResult((y.transpose(1, 2).flatten(2),))
