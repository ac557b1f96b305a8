"""Faults of attention: scales, masks, axes, the order of projected rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, other_layer, other_weights
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.composites.attention import MultiHeadAttention, ScaledDotProductAttention
from cnnbench.spec.layers.indexing import Roll

_FEATURES, _HEADS = 8, 2
_QKV = SuspectNetwork((5, _FEATURES), inputs=3)
_TOKENS = SuspectNetwork((6, _FEATURES))
_DOT_PRODUCTS = ScaledDotProductAttention(num_heads=_HEADS)
_HEADED = surrounded(MultiHeadAttention(num_heads=_HEADS), _TOKENS)


def _one_key_more(right: Operation, table: Operations) -> Operation:
    """The mask moved by one key."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        result = right.forward(layer, inputs, weights, state, call)
        return table["roll"].forward(Roll(shifts=(1,), axes=(3,)), result.outputs, (), (), call)

    return Operation(forward, right.backward, right.weight_layout)


def _by_heads(layer: Any, name: str, array: Any) -> Any:
    """Rows q, k, v of each head together, where a projection makes all three."""
    if layer.out_features != 3 * _FEATURES:
        return array
    parts = array.reshape(3, _HEADS, _FEATURES // _HEADS, *array.shape[1:])
    return parts.swapaxes(0, 1).reshape(array.shape).copy()


FAULTS = (
    Fault(
        "attention.scale_missing",
        "scaled_dot_product_attention",
        "logits not divided by the root of the head's size",
        surrounded(_DOT_PRODUCTS, _QKV),
        operation=other_layer(lambda layer: replace(layer, scale=1.0)),
    ),
    Fault(
        "attention.scale_of_all_heads",
        "scaled_dot_product_attention",
        "logits divided by the root of the whole embedding's size and not of one head's",
        surrounded(_DOT_PRODUCTS, _QKV),
        operation=other_layer(lambda layer: replace(layer, scale=_FEATURES**-0.5)),
    ),
    Fault(
        "attention.not_causal",
        "scaled_dot_product_attention",
        "the causal mask forgotten",
        surrounded(replace(_DOT_PRODUCTS, causal=True), _QKV),
        operation=other_layer(lambda layer: replace(layer, causal=False)),
    ),
    Fault(
        "attention.causal_off_by_one",
        "causal_mask",
        "a query sees one key of the future",
        surrounded(replace(_DOT_PRODUCTS, causal=True), _QKV),
        node="suspect.causal_mask",
        operation=_one_key_more,
    ),
    Fault(
        "attention.softmax_axis",
        "softmax",
        "weights that sum to one over queries and not over keys",
        surrounded(_DOT_PRODUCTS, _QKV),
        node="suspect.softmax",
        operation=other_layer(lambda layer: replace(layer, axis=-2)),
    ),
    Fault(
        "multi_head_attention.rows_by_head",
        "linear",
        "in_proj read as (heads, q k v, size) and not as (q k v, heads, size)",
        _HEADED,
        node="suspect.in_proj",
        operation=other_weights(_by_heads),
    ),
)
