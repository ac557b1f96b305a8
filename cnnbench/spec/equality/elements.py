"""Names for the elements of arrays: two elements have one label where they are the same number by construction."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import Shape

Labels = NDArray[np.int64]
ZERO = -1  # the label of a constant 0
NOTHING = -2  # of the padding of a maximum
LONGEST = 160  # of a text


@dataclass(frozen=True)
class Elements:
    """The elements that one node makes.

    Args:
        base: Its first label; those of its elements follow in row-major order.
        size: How many there are.
        text: How messages call them.
        positive: Whether none is negative.
    """

    base: int
    size: int
    text: str
    positive: bool = False


class Ledger:
    """The blocks of two networks. What is made in the same way from the same elements is one block."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Elements] = {}
        self._blocks: list[Elements] = []

    def block(self, key: Hashable, size: int, text: str, *, positive: bool = False) -> Elements:
        """The block of that key, a new one where it was not asked for before.

        Args:
            key: How it is made and from what.
            size: The number of its elements.
            text: How messages call it.
            positive: Whether none of its elements is negative.
        """
        if key not in self._by_key:
            last = self._blocks[-1] if self._blocks else Elements(0, 0, "")
            shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
            found = Elements(last.base + last.size, max(size, 1), shown, positive)
            self._by_key[key] = found
            self._blocks.append(found)
        return self._by_key[key]

    def of(self, labels: Labels) -> list[Elements]:
        """The blocks that an array has elements of, in the order of the first of each."""
        bases = np.array([block.base for block in self._blocks], np.int64)
        least, most = np.searchsorted(bases, (labels.min(), labels.max()), side="right") - 1 if labels.size else (0, -1)
        if least >= most:
            return [self._blocks[most]] if least == most >= 0 else []
        numbers, first = np.unique(np.searchsorted(bases, labels.ravel(), side="right") - 1, return_index=True)
        ordered = numbers[np.argsort(first)]
        return [self._blocks[number] for number in ordered if number >= 0]

    def text(self, labels: Labels) -> str:
        """How messages call an array."""
        blocks = self.of(labels)
        text = ", ".join(block.text for block in blocks[:4]) + (", …" if len(blocks) > 4 else "")
        padded = " with zeros around it" if (labels < 0).any() else ""
        return (text if len(blocks) == 1 else f"[{text}]" if blocks else "zeros") + padded

    def positive(self, labels: Labels) -> bool:
        """Whether none of an array's elements is negative."""
        return all(block.positive for block in self.of(labels))


def fresh(block: Elements, shape: Shape) -> Labels:
    """A block's elements in their own order."""
    return np.arange(block.base, block.base + math.prod(shape), dtype=np.int64).reshape(shape)


def digest(labels: Labels) -> str:
    """Of the labels and their shape."""
    content = hashlib.blake2b(np.ascontiguousarray(labels).tobytes(), digest_size=16)
    content.update(np.array(labels.shape, np.int64).tobytes())
    return content.hexdigest()


def made(ledger: Ledger, kind: Hashable, inputs: Sequence[Labels], shape: Shape, text: str) -> Labels:
    """What an operation makes of whole arrays.

    Args:
        ledger: Of both networks.
        kind: The operation with its fields.
        inputs: What it reads.
        shape: Of its result.
        text: What messages call the operation.
    """
    called = f"{text}({', '.join(ledger.text(labels) for labels in inputs)})"
    positive = bool(inputs) and all(ledger.positive(labels) for labels in inputs)
    key = (kind, tuple(digest(labels) for labels in inputs))
    return fresh(ledger.block(key, math.prod(shape), called, positive=positive), shape)


def mapped(ledger: Ledger, kind: Hashable, labels: Labels, text: str, *, keeps_zero: bool, positive: bool) -> Labels:
    """What a function of single elements makes, each in its place.

    Args:
        ledger: Of both networks.
        kind: The function with its fields.
        labels: What it reads.
        text: What messages call the function.
        keeps_zero: Whether it makes 0 of 0.
        positive: Whether it makes no negative number.
    """
    result = labels.copy()
    for block in ledger.of(labels):
        if block.positive and kind == ("relu", ()):
            continue
        new = ledger.block((kind, block.base), block.size, f"{text}({block.text})", positive=positive)
        inside = (labels >= block.base) & (labels < block.base + block.size)
        result[inside] += new.base - block.base
    if not keeps_zero and (labels == ZERO).any():
        result[labels == ZERO] = ledger.block((kind, ZERO), 1, f"{text}(0)", positive=positive).base
    return result


def joined(ledger: Ledger, kind: str, one: Labels, two: Labels, *, commutes: bool) -> Labels:
    """What a function of pairs of elements makes, with axes of size 1 repeated.

    Args:
        ledger: Of both networks.
        kind: The function.
        one: What it reads first.
        two: What it reads second.
        commutes: Whether the order of the two does not matter.
    """
    pairs = np.stack(np.broadcast_arrays(one, two), axis=-1)
    flat = pairs.reshape(-1, 2)
    result = np.empty(len(flat), np.int64)
    if commutes:
        flat = np.sort(flat, axis=1)
    firsts = {block.base: block for block in ledger.of(flat[:, 0])}
    seconds = {block.base: block for block in ledger.of(flat[:, 1])}
    outside = Elements(NOTHING, 2, "0", positive=True)
    for left in (*firsts.values(), outside):
        of_left = (flat[:, 0] >= left.base) & (flat[:, 0] < left.base + left.size)
        for right in (*seconds.values(), outside):
            inside = of_left & (flat[:, 1] >= right.base) & (flat[:, 1] < right.base + right.size)
            if inside.any():
                result[inside] = _pairs(
                    ledger, kind, (left, right), flat[inside] - np.array((left.base, right.base), np.int64)
                )
    return result.reshape(pairs.shape[:-1])


def _pairs(ledger: Ledger, kind: str, blocks: tuple[Elements, Elements], places: Labels) -> Labels:
    """Labels of pairs of two blocks; pairs of equal places have one block, whatever the order that they come in."""
    left, right = blocks
    text = f"{kind}({left.text}, {right.text})"
    positive = left.positive and right.positive and kind not in ("subtract",)
    if (places[:, 0] == places[:, 1]).all():
        block = ledger.block((kind, left.base, right.base), left.size, text, positive=positive)
        return block.base + places[:, 0]
    joint = places[:, 0] * np.int64(right.size) + places[:, 1]
    unique, inverse = np.unique(joint, return_inverse=True)
    block = ledger.block((kind, left.base, right.base, digest(unique)), len(unique), text, positive=positive)
    places = inverse.reshape(-1).astype(np.int64)
    return places + block.base
