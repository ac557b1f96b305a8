"""Layers that give values another shape: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.layers import Flatten
from cnnbench.spec.layers.shape import Expand, Reshape, Squeeze, Tile, Transpose, Unsqueeze

VOLUME = ((2, 3, 4, 5),)
TOKENS = ((6, 5),)

CASES = {
    "flatten/plain": LayerCase(Flatten(), EVEN),
    "flatten/later": LayerCase(Flatten(start_axis=2), EVEN),
    "reshape/plain": LayerCase(Reshape(shape=(5, -1, 4)), EVEN),
    "reshape/row": LayerCase(Reshape(shape=(2, 5)), ROW),
    "reshape/joins_the_batch": LayerCase(Reshape(shape=(-1, 5, 2), whole=True), EVEN),
    "reshape/splits_the_batch": LayerCase(Reshape(shape=(2, -1, 6, 5), whole=True), ((8, 6, 5),), batched=(False,)),
    "reshape/one_image": LayerCase(Reshape(shape=(8, 40)), EVEN, batch=1),
    "transpose/plain": LayerCase(Transpose(permutation=(0, 2, 3, 1)), EVEN),
    "transpose/moves_the_batch": LayerCase(Transpose(permutation=(2, 0, -1, 1)), EVEN, batch=3),
    "transpose/matrix": LayerCase(Transpose(permutation=(1, 0)), ROW),
    "transpose/volume": LayerCase(Transpose(permutation=(0, 4, 1, 3, 2)), VOLUME),
    "expand/plain": LayerCase(Expand(shape=(4, 3, -1)), ((4, 1, 5),)),
    "expand/new_axes": LayerCase(Expand(shape=(2, 3, 6, 5)), TOKENS),
    "expand/to_the_batch": LayerCase(Expand(shape=(1, 5)), ((1, 1, 5), (6, 5)), batch=3, batched=(False, True)),
    "tile/plain": LayerCase(Tile(repeats=(2, 1, 3)), EVEN),
    "tile/row": LayerCase(Tile(repeats=(3,)), ROW),
    "squeeze/plain": LayerCase(Squeeze(axes=(-1, 2)), ((3, 1, 4, 1),)),
    "unsqueeze/plain": LayerCase(Unsqueeze(axes=(1, -1)), TOKENS),
}
