"""Compiled programs: a forward pass, a gradient pass, a training step, and how each is loaded, fed, run and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cnnbench.execution.host import HostArrays, HostGradients, HostResult, HostSlots, HostTraining
from cnnbench.execution.program import Program


class NativeArray(NamedTuple):
    """An array as a backend holds it.

    Args:
        value: The framework's own array; it may change with the next run of a program that holds it.
        channels_last: Whether a weight is in the layout for channels-last images.
    """

    value: Any
    channels_last: bool = False


class WatchedPass(NamedTuple):
    """A forward pass that tells of each of its steps.

    Args:
        program: What runs; a step of it may compute several nodes.
        run: One pass.
    """

    program: Program
    run: Callable[[], object]


class ForwardProgram(ABC):
    """A compiled forward pass. Life: ``load`` weights, ``upload`` a batch, ``run`` (the timed call), ``download``."""

    @abstractmethod
    def load(self, weights: HostArrays, state: HostArrays) -> None:
        """Puts canonical host arrays on the device in the native layout and the policy's dtype.

        Running statistics are held in float32 where the policy stores less.
        """

    @abstractmethod
    def upload(self, batch: HostArrays) -> Any:
        """Inputs by name (and, in training, masks ``<node>.mask``) as device operands of ``run``."""

    def prepare(self, operands: Any) -> None:  # noqa: B027 - optional: not every framework compiles apart
        """Traces and compiles for operands of these shapes without running, where the framework can; else nothing."""

    @abstractmethod
    def run(self, operands: Any) -> Any:
        """One pass on the device. It may return before the device is done; ``synchronize`` waits for it."""

    @abstractmethod
    def download(self, results: Any) -> HostResult:
        """What ``run`` returned, on the host: float64 for float64, else float32 (narrower types widened exactly)."""

    def held(self) -> HostArrays | None:
        """The weights and running statistics that ``run`` computes with, read back from the device.

        Canonical and by full name, folded where batch norms are; None where the backend does not tell. A check compares
        them bit for bit with what was loaded.
        """
        return None

    def watched(self, operands: Any, watch: Callable[[int], None]) -> WatchedPass | None:
        """The pass of ``run``, which calls ``watch`` with the number of each step after it; for profiles.

        None where a compiler takes the graph as a whole, so that no time belongs to one node.

        Args:
            operands: Of ``upload``.
            watch: Called in the pass, between two steps; where the device works on, it waits for that.
        """
        return None


class GradientProgram(ABC):
    """A compiled gradient pass; life as ``ForwardProgram``."""

    @abstractmethod
    def load(self, weights: HostArrays, state: HostArrays) -> None:
        """As ``ForwardProgram.load``."""

    @abstractmethod
    def upload(self, batch: HostArrays) -> Any:
        """Inputs, masks, and ``targets`` for a loss, or without a loss one ``gradient.<output>`` an output."""

    def prepare(self, operands: Any) -> None:  # noqa: B027 - optional: not every framework compiles apart
        """As ``ForwardProgram.prepare``."""

    @abstractmethod
    def run(self, operands: Any) -> Any:
        """One forward and reverse pass."""

    @abstractmethod
    def download(self, results: Any) -> HostGradients:
        """What ``run`` returned, on the host. ``loss`` is NaN where there is none."""


class StepProgram(ABC):
    """A compiled training step: (weights, state, slots, batch, masks, rate) -> (weights, state, slots, loss).

    The program holds the current weights, state and slots; ``run`` replaces them.
    """

    @abstractmethod
    def load(self, weights: HostArrays, state: HostArrays, slots: HostSlots | None = None) -> None:
        """Starts from canonical host arrays.

        Args:
            weights: As ``ForwardProgram.load`` takes them.
            state: As ``ForwardProgram.load`` takes it.
            slots: The optimiser's, by their ``SlotName``; zeros where None.
        """

    @abstractmethod
    def upload(self, batch: HostArrays) -> Any:
        """Inputs, masks and ``targets`` as device operands."""

    def prepare(self, operands: Any) -> None:  # noqa: B027 - optional: not every framework compiles apart
        """As ``ForwardProgram.prepare``."""

    @abstractmethod
    def run(self, operands: Any, learning_rate: float) -> Any:
        """One optimiser step; returns the loss before it, still on the device."""

    @abstractmethod
    def loss(self, result: Any) -> float:
        """The loss on the host."""

    @abstractmethod
    def snapshot(self) -> HostTraining:
        """The current training state on the host, canonical."""

    def arrays(self) -> Mapping[str, NativeArray]:
        """The current weights and running statistics by full name, for ``adopt`` of another program of the backend.

        They are the program's own and not copies. They go to the host and back where a backend does no better.
        """
        found = self.snapshot()
        return {name: NativeArray(array) for part in found[:2] for name, array in part.items()}

    def adopt(self, arrays: Mapping[str, NativeArray]) -> None:
        """Goes on with these arrays in place of its own of the same names; its slots stay, and other names are ignored.

        The program must have been loaded. From then on the arrays are the program's, too: the one that handed them over
        must adopt this one's before it runs again.
        """
        own = self.snapshot()
        weights, state = ({n: arrays[n].value if n in arrays else a for n, a in part.items()} for part in own[:2])
        self.load(weights, state, own.slots)
