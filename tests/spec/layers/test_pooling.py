"""Min, Lp and adaptive max pooling: shapes and refusals by hand."""

from __future__ import annotations

import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import MaxPool
from cnnbench.spec.layers.pooling import MinPool
from cnnbench.spec.layers.power_pooling import LpPool

IMAGE = (2, 3, 8, 9)


@pytest.mark.parametrize(
    ("layer", "output"),
    [
        (MinPool(kernel_size=3, stride=2, padding=((1, 0), (0, 1))), (4, 4)),
        (MinPool(kernel_size=3, stride=2, ceil_mode=True), (4, 4)),
        (LpPool(kernel_size=2, stride=3, padding=1, ceil_mode=True), (3, 4)),  # a third would start in the padding
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_shapes(layer, output):
    assert layer.resolve((IMAGE,)).output_shapes((IMAGE,)) == ((2, 3, *output),)


def test_min_pool_has_the_windows_of_max_pool():
    fields = {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}
    assert MinPool(**fields).maximum() == MaxPool(**fields)


@pytest.mark.parametrize(
    ("layer", "received", "expected"),
    [
        (MinPool(kernel_size=2, padding=2), "padding (2, 2)", "at most 1"),
        (LpPool(kernel_size=2, p=0.5), "0.5", "at least 1"),
        (LpPool(kernel_size=2, p=1.5, absolute=False), "p=1.5", "an integer p"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_an_invalid_pooling_is_refused_where_it_is_added(layer, received, expected):
    builder = Builder("net")
    image = builder.input("image", (3, 8, 8))
    with pytest.raises(SpecError) as caught:
        builder.add("pool", layer, image)
    assert f"net: node 'pool' ({layer.kind})" in str(caught.value)
    assert received in str(caught.value.received)
    assert expected in str(caught.value.expected)


def test_a_partial_window_is_scaled_by_the_share_that_lies_inside():
    layer = LpPool(kernel_size=3, stride=2, ceil_mode=True, rescale_partial=True).resolve(((1, 1, 4, 5),))
    # along 4: windows 0-2 and 2-4, of which position 4 lies outside; along 5 both lie inside
    assert layer.partial_scales((4, 5)) == ((1.0, 1.5), (1.0, 1.0))
