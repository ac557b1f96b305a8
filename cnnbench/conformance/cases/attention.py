"""Attention over tokens: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.composites.attention import AdditiveAttention, MultiHeadAttention, ScaledDotProductAttention
from cnnbench.spec.layers.arrays import Shape

# Queries, keys and values of numbers and lengths that all differ.
QKV: tuple[Shape, ...] = ((4, 6), (5, 6), (5, 8))
TOKENS: tuple[Shape, ...] = ((5, 6),)

CASES = {
    "scaled_dot_product_attention/one_head": LayerCase(ScaledDotProductAttention(), QKV),
    "scaled_dot_product_attention/two_heads": LayerCase(ScaledDotProductAttention(num_heads=2), QKV, batch=3),
    "scaled_dot_product_attention/scaled": LayerCase(ScaledDotProductAttention(scale=0.1), QKV, batch=1),
    "scaled_dot_product_attention/causal": LayerCase(
        ScaledDotProductAttention(num_heads=2, causal=True), ((5, 6), (5, 6), (5, 8))
    ),
    "scaled_dot_product_attention/bias": LayerCase(ScaledDotProductAttention(num_heads=2), (*QKV, (2, 4, 5))),
    "scaled_dot_product_attention/causal_and_bias": LayerCase(
        ScaledDotProductAttention(num_heads=2, causal=True),
        ((5, 6), (5, 6), (5, 8), (1, 2, 1, 5)),
        batched=(True, True, True, False),
    ),
    "scaled_dot_product_attention/one_key": LayerCase(ScaledDotProductAttention(), ((3, 4), (1, 4), (1, 2))),
    "multi_head_attention/plain": LayerCase(MultiHeadAttention(num_heads=3), TOKENS),
    "multi_head_attention/causal": LayerCase(MultiHeadAttention(num_heads=2, causal=True), TOKENS),
    "multi_head_attention/no_bias": LayerCase(MultiHeadAttention(num_heads=1, qkv_bias=False, out_bias=False), TOKENS),
    "multi_head_attention/biased_logits": LayerCase(
        MultiHeadAttention(num_heads=2), ((5, 6), (1, 2, 5, 5)), batched=(True, False)
    ),
    "additive_attention/query": LayerCase(AdditiveAttention(units=4), ((5, 6), (3,))),
    "additive_attention/alone": LayerCase(AdditiveAttention(units=4), TOKENS, batch=3),
    "additive_attention/biases": LayerCase(AdditiveAttention(units=4, bias=True), ((5, 6), (3,)), batch=1),
}
