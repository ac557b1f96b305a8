"""Embeddings: cases shared by all backends."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.composites.embedding import ClassToken, LearnedPositions, PatchEmbedding, SinusoidalPositions
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.embedding import TimestepEmbedding, TokenEmbedding

TOKENS: tuple[Shape, ...] = ((5, 6),)


def _rows(generator: Any, shape: Shape) -> Any:
    """Rows of a table of seven, the first and the last among them, some more than once."""
    rows = generator.integers(0, 7, shape)
    rows.reshape(-1)[:2] = (0, 6)[: rows.size]
    return rows


def _times(generator: Any, shape: Shape) -> Any:
    """Steps of a diffusion of a thousand, as floats; all of them distinct in bfloat16 only up to 256."""
    return generator.integers(0, 1000, shape).astype("float32")


def _drawn(layer: TimestepEmbedding, shape: Shape, batch: int = 4) -> LayerCase:
    return LayerCase(layer, (shape,), batch=batch, draws=(_times,))


CASES = {
    "token_embedding/plain": LayerCase(TokenEmbedding(num_embeddings=7, embedding_dim=4), ((5,),), draws=(_rows,)),
    "token_embedding/image": LayerCase(
        TokenEmbedding(num_embeddings=7, embedding_dim=3), ((4, 3),), batch=3, draws=(_rows,)
    ),
    "token_embedding/one_each": LayerCase(TokenEmbedding(num_embeddings=7, embedding_dim=4), ((),), draws=(_rows,)),
    "timestep_embedding/ddpm": _drawn(TimestepEmbedding(features=8), ()),
    "timestep_embedding/column": _drawn(TimestepEmbedding(features=8), (1,)),
    "timestep_embedding/odd": _drawn(TimestepEmbedding(features=7), (), batch=1),
    "timestep_embedding/adm": _drawn(TimestepEmbedding(features=8, shift=0, order="cos_sin"), ()),
    "timestep_embedding/short_period": _drawn(TimestepEmbedding(features=6, max_period=100.0), ()),
    "patch_embedding/tokens": LayerCase(PatchEmbedding(embed_dim=5, patch_size=2), ((3, 4, 6),)),
    "patch_embedding/grid": LayerCase(PatchEmbedding(embed_dim=5, patch_size=(2, 3), arrangement="grid"), ((3, 4, 6),)),
    "patch_embedding/row": LayerCase(PatchEmbedding(embed_dim=4, patch_size=3), ((2, 9),)),
    "patch_embedding/volume": LayerCase(
        PatchEmbedding(embed_dim=4, patch_size=(1, 2, 2), arrangement="grid"), ((2, 2, 4, 6),), batch=1
    ),
    "class_token/first": LayerCase(ClassToken(), TOKENS),
    "class_token/last": LayerCase(ClassToken(position="last"), TOKENS, batch=3),
    "learned_positions/tokens": LayerCase(LearnedPositions(), TOKENS),
    "learned_positions/image": LayerCase(LearnedPositions(), ((3, 4, 5),)),
    "sinusoidal_positions/interleaved": LayerCase(SinusoidalPositions(), TOKENS),
    "sinusoidal_positions/halves": LayerCase(SinusoidalPositions(arrangement="halves", max_period=100.0), TOKENS),
}
