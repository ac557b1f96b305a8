"""Padding: a constant, or values of the input itself, around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.base import Dtypes, Example, Layer, Shapes, require_one_of

PadMode = Literal["constant", "reflect", "symmetric", "edge", "wrap"]
PAD_MODES: tuple[PadMode, ...] = ("constant", "reflect", "symmetric", "edge", "wrap")


@dataclass(frozen=True, kw_only=True)
class Pad(Layer, kind="pad"):
    """Surrounds the input with a constant, or with values of its own.

    Args:
        padding: One (begin, end) pair for each axis after the batch axis, the channel axis first.
        value: The constant: a number, or "-inf" or "inf" around a maximum or a minimum, to which they add nothing.
        mode: Where the new values come from, for a row a b c d: ``constant``; ``reflect`` c b | a b c d | c b (the
            edge is not repeated: PyTorch's, ONNX's, TensorFlow's REFLECT); ``symmetric`` b a | a b c d | d c
            (TensorFlow's SYMMETRIC); ``edge`` a a | a b c d | d d (PyTorch's replicate); ``wrap`` c d | a b c d | a b
            (PyTorch's circular). At most size - 1 values are reflected, at most size wrapped or mirrored.

    Shapes:
        (N, C, *spatial) -> each axis longer by begin + end.
    """

    padding: tuple[tuple[int, int], ...]
    value: float | Literal["-inf", "inf"] = 0.0
    mode: PadMode = "constant"

    example = Example((1, 4, 6, 6), padding=((0, 0), (1, 1), (1, 2)))
    moves = True

    @property
    def constant(self) -> float:
        """The constant as a float."""
        return float(self.value)

    def resolve(self, inputs: Shapes) -> Self:
        require_one_of(self.mode, "mode", PAD_MODES)
        if len(self.padding) != len(inputs[0]) - 1 or any(p < 0 for pair in self.padding for p in pair):
            raise FieldError(
                "padding",
                "does not fit the input",
                received=repr(self.padding),
                expected=f"{len(inputs[0]) - 1} pairs (begin, end) of integers of at least 0, channel axis first",
            )
        for size, pair in zip(inputs[0][1:], self.padding, strict=True):
            most = {"reflect": size - 1, "symmetric": size, "wrap": size}.get(self.mode)
            if (most is not None and max(pair) > max(most, 0)) or (self.mode == "edge" and not size and any(pair)):
                raise FieldError(
                    "padding",
                    f"in mode {self.mode!r} does not fit an axis of size {size}",
                    received=pair,
                    expected=f"at most {most}" if most is not None else "an axis that has values",
                    remedy="pad less, or with a constant",
                )
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        grown = (size + begin + end for size, (begin, end) in zip(inputs[0][1:], self.padding, strict=True))
        return ((inputs[0][0], *grown),)

    def output_dtypes(self, inputs: Dtypes, count: int) -> Dtypes:
        if inputs[:1] == ("int",) and isinstance(self.value, str):
            raise SpecError("integers have no infinity to be padded with", received=self.value, expected="a number")
        return super().output_dtypes(inputs, count)


def padded_from(mode: PadMode, size: int, begin: int, end: int) -> tuple[int, ...]:
    """For each position of an axis padded in a mode other than ``constant``, the position that it is copied from.

    Args:
        mode: ``edge``, ``wrap``, ``reflect`` or ``symmetric``.
        size: Of the axis before it is padded.
        begin: The number of positions added before it.
        end: The number of positions added after it.
    """
    positions = range(-begin, size + end)
    if mode == "edge":
        return tuple(min(max(i, 0), size - 1) for i in positions)
    if mode == "wrap":
        return tuple(i % size for i in positions)
    last = 2 * (size - 1) if mode == "reflect" else 2 * size - 1
    low = 0 if mode == "reflect" else -1
    return tuple(low - i if i < 0 else last - i if i >= size else i for i in positions)
