"""Integer weights of a whole network: none is zero, and what most of them contribute cancels for its own operands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TILE = 4  # so many consecutive channels carry one signal: two pairs, whose differences cancel too


Item = tuple[tuple[int, ...], tuple[int, ...]]  # channels, and the sign of each

Read = tuple[int, int]  # a channel and its sign


class Products(NamedTuple):
    """A convolution or a linear layer as a matrix: (outputs, inputs of a group, taps).

    Args:
        outputs: Of all groups together.
        groups: Their number.
        taps: Of the kernel; 1 for a linear layer.
        inner: The taps that read no padding, whatever the place; the middle one where there is none.
        gathered: The most inputs that an output of ``sparse`` reads.
    """

    outputs: int
    groups: int
    taps: int
    inner: tuple[int, ...] = (0,)
    gathered: int = 1


@dataclass(frozen=True)
class _Parts:
    """How the inputs of a group cancel.

    Args:
        cancelling: (channels, signs) whose signed sum is 0 everywhere.
        rest: (channels, signs) of which that is not so: what they sum to is a part of the signal.
        readers: Further (channels, signs), each a part of one of ``cancelling``: what they sum to is a signal.
    """

    cancelling: list[Item] = field(default_factory=list)
    rest: list[Item] = field(default_factory=list)
    readers: list[tuple[int, tuple[Read, ...]]] = field(default_factory=list)


def dense(products: Products, operand: Array, generator: np.random.Generator) -> Array:
    """Weights of magnitude 1 and 2, no zeros, that give small sums of ``operand``.

    Channels that are equal get weights that cancel, at each tap, and so do pairs of channels with equal differences.
    Beside them, each tile of ``TILE`` outputs reads one signal at one tap. A weight that is only a little wrong no
    longer cancels, so that each of them shows; and outputs of a tile are equal again, for the next layer.

    Args:
        products: The layer.
        operand: What it reads, (channels, places).
        generator: Of the signs.
    """
    width = len(operand) // products.groups
    height = products.outputs // products.groups
    if width == 1:
        return _depthwise(products, generator)
    weights = np.empty((products.outputs, width, products.taps))
    for group in range(products.groups):
        parts = _parts(operand[group * width : (group + 1) * width])
        part = weights[group * height : (group + 1) * height]
        _fill(part, parts.cancelling, generator, tile=1)
        _fill(part, parts.rest, generator, tile=TILE)
        for start in range(0, height if parts.readers else 0, TILE):
            item, read = parts.readers[int(generator.integers(len(parts.readers)))]
            tap = products.inner[int(generator.integers(len(products.inner)))]
            channels, signs = parts.cancelling[item]
            part[start : start + TILE, channels, tap] = signs
            for channel, sign in read:  # of the sign that is there, so that no weight becomes 0
                part[start : start + TILE, channel, tap] += sign
    return weights


def _fill(weights: Array, items: list[Item], generator: np.random.Generator, *, tile: int) -> None:
    """Gives the channels of each item its signs times one more, drawn for each tap and for ``tile`` outputs at once."""
    height, _, taps = weights.shape
    for count in {len(channels) for channels, _ in items}:
        alike = [item for item in items if len(item[0]) == count]
        drawn = generator.integers(0, 2, (math.ceil(height / tile), len(alike), taps), dtype=np.int8) * 2.0 - 1
        drawn = np.repeat(drawn, tile, axis=0)[:height]
        for position in range(count):
            channels = [channels[position] for channels, _ in alike]
            signs = np.array([signs[position] for _, signs in alike])
            weights[:, channels] = drawn * signs[:, None]


def _depthwise(products: Products, generator: np.random.Generator) -> Array:
    """Two pairs of filters in each tile; those of a pair differ at one tap only, so that they give it by difference."""
    weights = np.empty((products.outputs, 1, products.taps))
    balanced = np.where(np.arange(products.taps) % 2, -1.0, 1.0)
    for start in range(0, products.outputs, TILE):
        tap = products.inner[int(generator.integers(len(products.inner)))]
        for pair in range(start, min(start + TILE, products.outputs), 2):
            filters = generator.permutation(balanced)
            filters[tap] = 1
            weights[pair : pair + 2, 0] = filters
            weights[pair + 1 : min(pair + 2, products.outputs), 0, tap] += 1
    return weights


def sparse(products: Products, operand: Array, generator: np.random.Generator) -> Array:
    """Weights that hand channels on: each output reads one place of one channel, or of ``gathered`` where they abound.

    Args:
        products: The layer.
        operand: What it reads, (channels, places).
        generator: Of the order and the taps.
    """
    width = len(operand) // products.groups
    height = products.outputs // products.groups
    weights = np.zeros((products.outputs, width, products.taps))
    for group in range(products.groups):
        order = np.concatenate([generator.permutation(width) for _ in range(math.ceil(height / width))])
        for row in range(height):
            tap = products.inner[int(generator.integers(len(products.inner)))]
            weights[group * height + row, order[row::height][: products.gathered], tap] = 1
    return weights


def inner_taps(sizes: Sequence[int], layer: Any, outputs: Sequence[int]) -> tuple[int, ...]:
    """The taps of a convolution, in row-major order, that lie within the image for every place of the output.

    Args:
        sizes: Of the image, along each axis.
        layer: The convolution.
        outputs: Sizes of its output.
    """
    window = layer.window()
    found = []
    for size, out, kernel, stride, dilation, pad in zip(
        sizes, outputs, window.kernel_size, window.stride, window.dilation, layer.padding, strict=True
    ):
        begin = pad[0]
        ends = [(t * dilation - begin, (out - 1) * stride + t * dilation - begin) for t in range(kernel)]
        inside = [t for t, (low, high) in enumerate(ends) if low >= 0 and high < size]
        found.append(inside or [kernel // 2])
    strides = np.cumprod([1, *reversed(window.kernel_size)])[:-1][::-1]
    return tuple(int(np.dot(place, strides)) for place in itertools.product(*found))


def _parts(operand: Array) -> _Parts:
    """How channels cancel: neighbours by equal differences (0 among them), and what is left by being equal."""
    parts = _Parts()
    pairs = [(a, a + 1) for a in range(0, len(operand) - 1, 2)]
    differences = np.stack([operand[b] - operand[a] for a, b in pairs]) if pairs else operand[:0]
    left = [len(operand) - 1] if len(operand) % 2 else []
    for alike in _equal(differences):
        if not differences[alike[0]].any():
            for i in alike:
                _cancels(parts, pairs[i], (1, -1), ((pairs[i][0], 1),))
            continue
        while len(alike) > 1:
            (a, b), (c, d) = pairs[alike.pop()], pairs[alike.pop()]
            _cancels(parts, (a, b, c, d), (-1, 1, 1, -1), ((a, -1), (b, 1)))
        left += [channel for i in alike for channel in pairs[i]]
    left.sort()
    unpaired = []
    for rows in _equal(operand[left]) if left else []:
        channels = [left[row] for row in rows]
        while len(channels) > 3 or len(channels) == 2:
            a, b = channels.pop(), channels.pop()
            _cancels(parts, (a, b), (1, -1), ((a, 1),))
        if len(channels) == 3:
            _cancels(parts, (channels[0], channels[1], channels[2]), (2, -1, -1), ((channels[0], 1),))
        elif channels:
            unpaired += channels
    unpaired.sort()
    parts.rest.extend(((a, b), (-1, 1)) for a, b in zip(unpaired[::2], unpaired[1::2], strict=False))
    parts.rest.extend(((a,), (1,)) for a in unpaired[len(unpaired) // 2 * 2 :])
    return parts


def _cancels(parts: _Parts, channels: tuple[int, ...], signs: tuple[int, ...], read: tuple[Read, ...]) -> None:
    parts.readers.append((len(parts.cancelling), read))
    parts.cancelling.append((channels, signs))


def _equal(rows: Array) -> list[list[int]]:
    """The indices of rows that are equal, together."""
    found: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows):
        found.setdefault((row + 0.0).tobytes(), []).append(index)  # - 0 is 0
    return list(found.values())


def unit(array: Array) -> float | None:
    """The largest power of two that divides every value; None where 2**-40 does not. A zero counts as 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.ldexp(np.abs(array), 40)
    if not scaled.size or not (scaled < 2.0**62).all() or (scaled != np.floor(scaled)).any():
        return None
    held = int(np.bitwise_or.reduce(scaled.astype(np.int64), axis=None))
    return math.ldexp(held & -held, -40) if held else 1.0
