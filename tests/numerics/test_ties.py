"""Ties of maxima, held by naive loops over windows."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.numerics.ties import tied
from cnnbench.spec.layers import Conv, GlobalMaxPool, MaxPool, ReLU


@pytest.mark.parametrize(
    "layer",
    [
        MaxPool(kernel_size=2),
        MaxPool(kernel_size=3, stride=2, padding=1),
        MaxPool(kernel_size=3, stride=2, ceil_mode=True),
        MaxPool(kernel_size=2, dilation=2, stride=1),
    ],
)
def test_elements_that_share_a_windows_maximum_are_found(layer):
    x = np.random.default_rng(0).integers(0, 4, (1, 2, 8, 7)).astype(float)
    layer = layer.resolve((x.shape,))
    window, out = layer.window(), layer.output_shapes((x.shape,))[0]
    naive = np.zeros(x.shape, bool)
    for c, i, j in np.ndindex(out[1:]):
        seen = []
        for p, q in np.ndindex(*window.kernel_size):
            row = i * window.stride[0] + p * window.dilation[0] - layer.padding[0][0]
            column = j * window.stride[1] + q * window.dilation[1] - layer.padding[1][0]
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                seen.append((x[0, c, row, column], row, column))
        top = max(value for value, _, _ in seen)
        winners = [(row, column) for value, row, column in seen if value == top]
        if len(winners) > 1:
            for row, column in winners:
                naive[0, c, row, column] = True
    assert tied(layer, x).tolist() == naive.tolist()


def test_relu_ties_at_zero_and_global_maxima_where_two_are_equal():
    x = np.array([[[1.0, 0.0, 1.0], [3.0, 2.0, -0.0]]])
    assert tied(ReLU(), x).tolist() == [[[False, True, False], [False, False, True]]]
    assert tied(GlobalMaxPool(), x).tolist() == [[[True, False, True], [False, False, False]]]
    assert tied(Conv(out_channels=1, kernel_size=1), x) is None
