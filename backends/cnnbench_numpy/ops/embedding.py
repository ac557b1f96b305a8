"""Reference embeddings of tokens and of time."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.embedding import TimestepEmbedding, TokenEmbedding
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


def token_embedding_backward(
    layer: TokenEmbedding, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """Each row gets the sum over the tokens that read it; the padding row nothing."""
    total = np.zeros_like(weights[0])
    np.add.at(total, saved, gradients[0])
    if layer.padding_idx is not None:
        total[layer.padding_idx] = 0
    return Gradients((None,), (total,))


@REFERENCE.register("token_embedding", backward=token_embedding_backward)
def token_embedding(layer: TokenEmbedding, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """y[n, ..., :] = weight[token[n, ...], :]."""
    return OpResult((weights[0][inputs[0]],), saved=inputs[0])


def timestep_embedding_backward(
    layer: TimestepEmbedding, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """dt = sum_i w_i (cos(t w_i) d_sin_i - sin(t w_i) d_cos_i)."""
    sine, cosine, shape = saved
    half = layer.features // 2
    first, second = gradients[0][:, :half], gradients[0][:, half : 2 * half]
    d_sine, d_cosine = (first, second) if layer.order == "sin_cos" else (second, first)
    terms = (cosine * d_sine - sine * d_cosine) * layer.frequencies()
    return Gradients((terms.sum(axis=1).reshape(shape).astype(gradients[0].dtype),))


@REFERENCE.register("timestep_embedding", backward=timestep_embedding_backward)
def timestep_embedding(
    layer: TimestepEmbedding, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> OpResult:
    """Sines and cosines of t w_i, side by side."""
    t = inputs[0]
    angles = t.reshape(-1, 1) * layer.frequencies().astype(t.dtype)
    sine, cosine = np.sin(angles), np.cos(angles)
    parts = (sine, cosine) if layer.order == "sin_cos" else (cosine, sine)
    rest = np.zeros((len(angles), layer.features % 2), t.dtype)
    return OpResult((np.concatenate((*parts, rest), axis=1),), saved=(sine, cosine, t.shape))
