"""Layers that take part of their input: cases shared by all backends."""

from __future__ import annotations

from typing import Any

from cnnbench.conformance.cases.case import EVEN, ROW, SQUARE, Draw, LayerCase
from cnnbench.spec.composites.indexing import CenterCropPad, Crop
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Roll, Slice, Split

VOLUME = ((2, 3, 4, 5),)


def up_to(size: int) -> Draw:
    """Indices from 0 to size - 1."""

    def draw(generator: Any, shape: Any) -> Any:
        return generator.integers(0, size, shape)

    return draw


CASES = {
    "slice/plain": LayerCase(Slice(starts=(1, 0, 2), ends=(3, -1, 9)), EVEN),
    "slice/steps": LayerCase(Slice(starts=(0, 1, 1), ends=(4, 8, 99), steps=(3, 2, 4)), EVEN),
    "slice/backwards": LayerCase(Slice(starts=(None, -1), ends=(None, 1), steps=(-2, -3), axes=(2, 3)), EVEN),
    "slice/channels_backwards": LayerCase(Slice(starts=(2,), ends=(None,), steps=(-1,), axes=(1,)), EVEN),
    "slice/row": LayerCase(Slice(starts=(-7,), ends=(9,), steps=(3,)), ROW),
    "slice/volume": LayerCase(Slice(starts=(1, 0), ends=(2, 4), steps=(1, 3), axes=(2, -1)), VOLUME),
    "slice/one_value": LayerCase(Slice(starts=(3,), ends=(4,), axes=(-1,)), EVEN, batch=1),
    "crop/center": LayerCase(Crop(size=(5, 3)), EVEN),
    "crop/at": LayerCase(Crop(size=(3, 7), offset=(4, 1)), EVEN),
    "center_crop_pad/both": LayerCase(CenterCropPad(size=(5, 13)), EVEN),
    "center_crop_pad/odd": LayerCase(CenterCropPad(size=(12, 6)), SQUARE),
    "split/channels": LayerCase(Split(sizes=(1, 3)), EVEN),
    "split/equal": LayerCase(Split(sizes=5, axis=-1), EVEN),
    "split/rows": LayerCase(Split(sizes=(2, 5, 1), axis=2), EVEN),
    "gather/channels": LayerCase(Gather(indices=(3, 0, 0, -1, 2)), EVEN),
    "gather/columns": LayerCase(Gather(indices=(9, 7, 7, 7, 0, -10), axis=-1), EVEN),
    "gather/row": LayerCase(Gather(indices=(4, 4, 1)), ROW),
    "gather_indices/table": LayerCase(GatherIndices(), ((7, 5), (3, 4)), draws=(None, up_to(7)), batched=(False, True)),
    "gather_indices/table_of_maps": LayerCase(
        GatherIndices(axis=0), ((4, 3, 2), (6,)), draws=(None, up_to(4)), batched=(False, True)
    ),
    "gather_indices/shared_indices": LayerCase(
        GatherIndices(axis=2), ((3, 6, 2), (4, 2)), draws=(None, up_to(6)), batched=(True, False)
    ),
    "gather_indices/own_tokens": LayerCase(
        GatherIndices(axis=1, shared_axes=1), ((6, 5), (4,)), draws=(None, up_to(6))
    ),
    "gather_indices/own_one_token": LayerCase(
        GatherIndices(axis=1, shared_axes=1), ((6, 5), ()), draws=(None, up_to(6))
    ),
    "gather_indices/own_columns": LayerCase(
        GatherIndices(axis=3, shared_axes=1), ((3, 2, 6), (4, 2)), draws=(None, up_to(6)), batch=3
    ),
    "roll/both": LayerCase(Roll(shifts=(3, -4), axes=(2, 3)), EVEN),
    "roll/channels": LayerCase(Roll(shifts=(1,), axes=(1,)), EVEN),
    "roll/beyond": LayerCase(Roll(shifts=(-23,), axes=(-1,)), ROW),
}
