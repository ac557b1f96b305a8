"""Importers of attention and rotary positions, written in primitives."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.interchange.onnx_shape import raised, reshaped
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Add, Concat, Shape, Softmax, Tanh
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Slice
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.merge import Multiply, Select, Subtract
from cnnbench.spec.layers.shape import Transpose, Unsqueeze

_HEADS = (0, 2, 1, 3)  # (N, T, heads, size) <-> (N, heads, T, size)


class _Scores(NamedTuple):
    """Products of queries and keys, plain, capped, masked, and as weights: what ``qk_matmul_output_mode`` names."""

    plain: Value
    capped: Value
    masked: Value
    weights: Value


@importer("Attention")
def attention(node: OnnxNode) -> list[Result]:
    """softmax(cap(Q sqrt(s) (K sqrt(s))^T) + mask) V, with the keys and values of earlier calls in front."""
    if node.attribute("softmax_precision", 1) not in (1, 11):
        raise node.reject("a softmax narrower than float32 is not imported")
    q = _in_heads(node, 0, node.attribute("q_num_heads"), "query")
    k = _in_heads(node, 1, node.attribute("kv_num_heads"), "key")
    v = _in_heads(node, 2, node.attribute("kv_num_heads"), "value")
    past = node.shape(4)[2] if node.has(4) else 0
    if past:
        k = node.add(Concat(axis=2), node.value(4), k, part="present_key")
        v = node.add(Concat(axis=2), node.value(5), v, part="present_value")
    scores = _scores(node, q, _for_each_query_head(node, k, q, "key"), past)
    y = node.add(MatMul(), scores.weights, _for_each_query_head(node, v, q, "value"), part="weighted")
    if len(node.shape(0)) == 3:
        y = node.add(Transpose(permutation=_HEADS), y, part="joined")
        y = reshaped(node, y, (*y.shape[:2], y.shape[2] * y.shape[3]))
    return [y, k, v, scores[node.attribute("qk_matmul_output_mode", 0)]]


def _in_heads(node: OnnxNode, position: int, heads: int | None, part: str) -> Value:
    """(N, T, heads size) -> (N, heads, T, size); four axes are so already."""
    x = node.value(position)
    if len(x.shape) == 4 or heads is None:
        return x
    split = reshaped(node, x, (*x.shape[:2], heads, x.shape[2] // heads), f"{part}_heads")
    return node.add(Transpose(permutation=_HEADS), split, part=part)


def _for_each_query_head(node: OnnxNode, x: Value, q: Value, part: str) -> Value:
    """Each head of keys or values as often as there are queries' heads that share it."""
    heads, count = x.shape[1], q.shape[1] // x.shape[1]
    if count == 1:
        return x
    indices = tuple(i for i in range(heads) for _ in range(count))
    return node.add(Gather(indices=indices, axis=1), x, part=f"shared_{part}")


def _scores(node: OnnxNode, q: Value, k: Value, past: int) -> _Scores:
    root = math.sqrt(node.attribute("scale", 0.0) or 1 / math.sqrt(q.shape[3]))
    left = node.add(Affine(scale=root), q, part="scaled_query")
    right = node.add(Affine(scale=root), k, part="scaled_key")
    plain = node.add(MatMul(transpose_b=True), left, right, part="scores")
    cap = node.attribute("softcap", 0.0)
    capped = plain
    if cap > 0:
        capped = node.add(Tanh(input_scale=1 / cap, output_scale=cap), plain, part="capped")
    masked = _masked(node, capped, past)
    return _Scores(plain, capped, masked, node.add(Softmax(axis=-1), masked, part="weights"))


def _masked(node: OnnxNode, scores: Value, past: int) -> Value:
    if node.has(3):
        scores = _with_mask(node, scores)
    bias = _fixed_bias(node, scores.shape, past)
    if bias is None:
        return scores
    return node.add(Add(broadcast=True), scores, node.parameter(bias, "bias"), part="allowed")


def _with_mask(node: OnnxNode, scores: Value) -> Value:
    """A mask of booleans keeps scores where it is true; one of floats is added. A shorter one masks what it lacks."""
    is_truth = node.is_truth(3)
    mask = raised(node, node.number(3), 4, "mask")
    missing = scores.shape[3] - mask.shape[3]
    if missing > 0 and mask.shape[3] > 1:
        filler = np.full((*mask.shape[:3], missing), 0.0 if is_truth else -np.inf, np.float32)
        mask = node.add(Concat(axis=3), mask, node.parameter(filler, "mask_filler"), part="whole_mask")
    if not is_truth:
        return node.add(Add(broadcast=True), scores, mask, part="masked")
    nothing = node.parameter(np.full((1, 1, 1, 1), -np.inf, np.float32), "nothing")
    return node.add(Select(), mask, scores, nothing, part="masked")


def _fixed_bias(node: OnnxNode, shape: Shape, past: int) -> Array | None:
    """What ``is_causal`` and the number of tokens that are no padding add to the scores; None where nothing."""
    bias = np.zeros((1, 1, 1, 1), np.float32)
    queries, keys = np.arange(shape[2])[:, None], np.arange(shape[3])[None, :]
    if node.attribute("is_causal", 0):
        bias = bias + np.where(keys > queries + past, -np.inf, 0.0)
    if node.has(6):
        lengths = np.asarray(node.ints(6, "the number of tokens"))[:, None, None, None]
        bias = bias + np.where(keys[None, None] < lengths, 0.0, -np.inf)
    return bias.astype(np.float32) if bias.any() else None


@importer("RotaryEmbedding")
def rotary_embedding(node: OnnxNode) -> Value:
    """Pairs of features turned by an angle that grows with the position."""
    x, rank = node.value(0), len(node.shape(0))
    if rank == 4:
        x = node.add(Transpose(permutation=_HEADS), x, part="by_token")
    else:
        heads = node.attribute("num_heads")
        x = reshaped(node, x, (*x.shape[:2], heads, x.shape[2] // heads), "by_token")
    turned = node.attribute("rotary_embedding_dim", 0) or x.shape[3]
    interleaved = bool(node.attribute("interleaved", 0))
    cos, sin = _angles(node, 1, "cos"), _angles(node, 2, "sin")
    first, second = _halves(node, x, turned, interleaved=interleaved)
    real = node.add(Subtract(), _times(node, cos, first, "a"), _times(node, sin, second, "b"), part="real")
    imaginary = node.add(
        Add(broadcast=True), _times(node, sin, first, "c"), _times(node, cos, second, "d"), part="imag"
    )
    if interleaved:
        pairs = [
            node.add(Unsqueeze(axes=(4,)), part, part=name) for part, name in ((real, "real_1"), (imaginary, "imag_1"))
        ]
        y = reshaped(node, node.add(Concat(axis=4), *pairs, part="pairs"), (*x.shape[:3], turned), "rotated")
    else:
        y = node.add(Concat(axis=3), real, imaginary, part="rotated")
    if turned < x.shape[3]:
        rest = node.add(Slice(starts=(turned,), ends=(None,), axes=(3,)), x, part="rest")
        y = node.add(Concat(axis=3), y, rest, part="whole")
    if rank == 3:
        return reshaped(node, y, node.shape(0))
    return node.add(Transpose(permutation=_HEADS), y)


def _angles(node: OnnxNode, position: int, name: str) -> Value:
    """Cosines or sines as (N, T, 1, size / 2): rows of a table where positions are given."""
    table = node.value(position)
    if node.has(3):
        table = node.add(GatherIndices(axis=0), table, node.value(3), part=f"{name}_rows")
    return node.add(Unsqueeze(axes=(2,)), table, part=name)


def _halves(node: OnnxNode, x: Value, turned: int, *, interleaved: bool) -> tuple[Value, Value]:
    """The first and the second features of the pairs."""
    half = turned // 2
    rows = ((0, turned, 2), (1, turned, 2)) if interleaved else ((0, half, 1), (half, turned, 1))
    first, second = (
        node.add(Slice(starts=(a,), ends=(b,), steps=(step,), axes=(3,)), x, part=f"half{i}")
        for i, (a, b, step) in enumerate(rows)
    )
    return first, second


def _times(node: OnnxNode, a: Value, b: Value, name: str) -> Value:
    return node.add(Multiply(), a, b, part=f"product_{name}")
