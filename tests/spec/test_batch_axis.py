"""A kind that takes the batch axis for channels is refused where it is used: every backend would agree on it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, Flatten, Layer, Linear, WeightSpec
from cnnbench.spec.layers.arrays import ONES
from cnnbench.spec.layers.shape import Reshape


@dataclass(frozen=True, kw_only=True)
class Widened(Composite, kind="test_widened"):
    """A convolution with as many channels as its input, by two spellings."""

    by: str

    def expand(self, builder, *inputs):
        x = inputs[0]
        channels = {"batch": x.shape[0], "axis": x.shape[1], "channels": x.channels}[self.by]
        return builder.add("conv", Conv(out_channels=channels, kernel_size=1), x)


@dataclass(frozen=True, kw_only=True)
class Rows(Composite, kind="test_rows"):
    """(N, C, H, W) -> (N C, H, W), with the batch written out or left open."""

    open: bool

    def expand(self, builder, *inputs):
        n, c, h, w = inputs[0].shape
        return builder.add("rows", Reshape(shape=(-1 if self.open else n * c, h, w), whole=True), *inputs)


@dataclass(frozen=True, kw_only=True)
class Nested(Composite, kind="test_nested"):
    """One of these within another."""

    def expand(self, builder, *inputs):
        return builder.add("inner", Widened(by="batch"), *inputs)


@dataclass(frozen=True, kw_only=True)
class Gained(Layer, kind="test_gained"):
    """x w, with a weight of axis ``axis`` of the input."""

    axis: int

    def weights(self, inputs):
        return (WeightSpec("weight", (inputs[0][self.axis],), ONES),)


def build(layer: Layer) -> None:
    builder = Builder("net")
    x = builder.input("x", (3, 8, 8))
    builder.build(builder.add("node", layer, x))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Widened(by="batch"), "conv.weight: (2, 3, 1, 1) for 2 images, (3, 3, 1, 1) for 3"),
        (Rows(open=False), "rows: "),
        (Nested(), "conv.weight"),
        (Gained(axis=0), "weight: (2,) for 2 images, (3,) for 3"),
    ],
)
def test_weights_and_parts_that_depend_on_the_batch_are_refused(layer, said):
    with pytest.raises(SpecError, match="depend on the number of images") as caught:
        build(layer)
    assert said in str(caught.value)
    assert "node 'node'" in str(caught.value)
    assert "and not shape[0]" in str(caught.value)


@pytest.mark.parametrize(
    "layer", [Widened(by="axis"), Widened(by="channels"), Rows(open=True), Gained(axis=1), Flatten()]
)
def test_others_are_not(layer):
    build(layer)


def test_a_parameter_whose_first_axis_is_one_is_no_batch():
    @dataclass(frozen=True, kw_only=True)
    class Joined(Composite, kind="test_joined"):
        """x + a table of one row."""

        def expand(self, builder, *inputs):
            return builder.add("fc", Linear(out_features=2), inputs[0])

    builder = Builder("net")
    x = builder.input("x", (4,))
    table = builder.input("table", (1, 4), batched=False)
    builder.add("node", Joined(), x)
    builder.build(builder.add("other", Joined(), table))
