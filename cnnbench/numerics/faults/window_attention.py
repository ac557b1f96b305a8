"""Faults of attention within shifted windows: shift, bias, mask."""

from __future__ import annotations

import math
from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.composites.window_attention import WindowAttention
from cnnbench.spec.layers.indexing import Gather

_GRID = SuspectNetwork((4, 6, 4))
_SHIFTED = surrounded(WindowAttention(num_heads=2, window_size=(2, 3), shift=(1, 1)), _GRID)


def _key_minus_query(layer: Gather) -> Gather:
    tokens = math.isqrt(len(layer.indices))
    return replace(layer, indices=tuple(layer.indices[j * tokens + i] for i in range(tokens) for j in range(tokens)))


FAULTS = (
    Fault(
        "window_attention.shift_direction",
        "roll",
        "the image rolled forwards before windows are cut, which are then masked at the wrong end",
        _SHIFTED,
        node="suspect.roll",
        operation=other_layer(lambda layer: replace(layer, shifts=tuple(-shift for shift in layer.shifts))),
    ),
    Fault(
        "window_attention.index_transposed",
        "gather",
        "the bias of key minus query where it is of query minus key",
        _SHIFTED,
        node="suspect.bias_rows",
        operation=other_layer(_key_minus_query),
    ),
    Fault(
        "window_attention.not_masked",
        "shifted_window_mask",
        "positions from both ends of a rolled image attend to each other",
        _SHIFTED,
        node="suspect.mask",
        operation=other_layer(lambda layer: replace(layer, masked=0.0)),
    ),
)
