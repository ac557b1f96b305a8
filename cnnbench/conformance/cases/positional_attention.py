"""Attention gated by position: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.composites.positional_attention import GatedPositionalSelfAttention

CASES = {
    "gated_positional_self_attention/square": LayerCase(GatedPositionalSelfAttention(num_heads=2), ((9, 6),)),
    "gated_positional_self_attention/oblong": LayerCase(
        GatedPositionalSelfAttention(num_heads=3, size=(2, 4), qkv_bias=True), ((8, 6),)
    ),
}
