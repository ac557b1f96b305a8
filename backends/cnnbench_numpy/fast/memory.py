"""Assigns buffers to the values of a planned program, and the same buffer again after a value's last use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.program import Program
from cnnbench.spec.layers import Shape
from cnnbench_numpy.fast.fusion import GUESTS, FusedStep

Array = NDArray[Any]


class BufferPlan:
    """The lives of a program's values.

    Slots that may share memory (an op of unknown behaviour may return a view of its input) live and die together.
    What holds a program input or output is never a buffer of ours, so that results stay when the program runs again.
    """

    def __init__(self, program: Program, fused: list[FusedStep], shapes: Mapping[int, Shape], dtype: Any) -> None:
        self._fused = fused
        self._shapes = shapes
        self._dtype = dtype
        self._outputs = set(program.outputs)
        self._groups = _groups(program, fused)
        self._last: dict[int, int] = {}  # group -> position of its last use
        self._last_slot: dict[int, int] = {}
        for position, item in enumerate(fused):
            for slot in (*item.inputs, *item.outputs):
                self._last_slot[slot] = position
                self._last[self._groups[slot]] = position
        self._pinned = {self._groups[slot] for slot in (*program.inputs, *program.outputs)}
        self._held: dict[int, Array] = {}  # group -> its buffer
        self._owner: dict[int, int] = {}  # group -> the slot that its buffer was taken for
        self._idle: list[Array] = []

    def take(self, position: int) -> Array | None:
        """The buffer for a kernel's output; None where the program must make an array at each run."""
        item = self._fused[position]
        group = self._groups[item.outputs[0]]
        if group in self._pinned:
            return None
        source = self._groups[item.inputs[0]]
        others = {self._groups[slot] for slot in item.inputs[1:] if slot != item.inputs[0]}
        dies = self._owner.get(source) == item.inputs[0] and self._last[source] == position
        if item.kind in GUESTS and dies and source not in others:
            del self._owner[source]
            return self._hold(item.outputs[0], self._held.pop(source))
        size = math.prod(self._shapes[item.outputs[0]])
        fitting = sorted((i for i, b in enumerate(self._idle) if b.size >= size), key=lambda i: self._idle[i].size)
        return self._hold(item.outputs[0], self._idle.pop(fitting[0]) if fitting else np.empty(size, self._dtype))

    def _hold(self, slot: int, buffer: Array) -> Array:
        group = self._groups[slot]
        self._held[group], self._owner[group] = buffer, slot
        return buffer

    def give_back(self, position: int) -> None:
        """Frees the buffers of what this step was the last to use."""
        item = self._fused[position]
        for group in {self._groups[slot] for slot in (*item.inputs, *item.outputs)}:
            if self._last[group] == position and group in self._held:
                self._idle.append(self._held.pop(group))
                del self._owner[group]

    def free(self, position: int) -> tuple[int, ...]:
        """The slots whose last use this step is."""
        item = self._fused[position]
        touched = dict.fromkeys((*item.inputs, *item.outputs))
        return tuple(s for s in touched if self._last_slot[s] == position and s not in self._outputs)


def _groups(program: Program, fused: list[FusedStep]) -> dict[int, int]:
    """For each slot the representative of those that may share its memory."""
    parent: dict[int, int] = {slot: slot for slot in program.inputs}

    def root(slot: int) -> int:
        while parent.setdefault(slot, slot) != slot:
            slot = parent[slot]
        return slot

    for item in fused:
        for slot in (*item.inputs, *item.outputs):
            root(slot)
        if item.role == "view":
            for slot in item.outputs:
                for source in item.inputs:
                    parent[root(slot)] = root(source)
    return {slot: root(slot) for slot in parent}
