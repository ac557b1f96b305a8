"""What a backend is: capabilities, compilation to programs, transfer, synchronisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cnnbench.errors import UnavailableError, did_you_mean
from cnnbench.execution.host import HostArrays, HostGradients, HostResult, HostTraining
from cnnbench.execution.operations import Gap, Operations
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import Optimizer

Layout = Literal["auto", "channels_first", "channels_last"]


@dataclass(frozen=True)
class BackendPlugin:
    """What a plugin tells of its backend before anything is imported.

    Args:
        name: What suites and ``-b`` call it.
        requires: The modules that must be importable, looked up without importing them.
        load: Imports the framework and returns the backend.
        modes: The modes that the backend has, the default first; stated here so that plans need no framework.
        precisions: The precision policies of each mode. devices: the kinds of device. layouts: the layouts.
        colour: ``#rrggbb`` of its bars and lines.
        distribution: The package whose version names the backend.
    """

    name: str
    requires: tuple[str, ...]
    load: Callable[[], Backend]
    modes: tuple[str, ...]
    precisions: Mapping[str, tuple[str, ...]]
    devices: tuple[str, ...]
    layouts: tuple[str, ...]
    colour: str
    distribution: str

    def unavailable(self) -> str | None:
        """Why the backend cannot be used here, or None."""
        from importlib.util import find_spec

        missing = [module for module in self.requires if find_spec(module) is None]
        if missing:
            return f"{', '.join(missing)} is not installed (pip install 'cnnbench[{self.name}]')"
        return None


@dataclass(frozen=True)
class ProcessSettings:
    """What is set once in a process, before a framework runs anything.

    Args:
        threads: Threads for computation, as many processors as the process may use; None leaves both alone.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        native_randomness: Whether the framework's own generators draw dropout masks (only when speed alone counts).
    """

    threads: int | None = None
    device: str = "cpu"
    native_randomness: bool = False


@dataclass(frozen=True)
class ProgramOptions:
    """How a program runs.

    Args:
        mode: One of the backend's modes.
        precision: The arithmetic.
        layout: Of images inside the program; ``auto`` is what a skilled user of the framework would take.
        training: Batch statistics and dropout (forward programs; gradients and steps are always training passes
            unless ``training`` is false).
        fold_batch_norm: Fold batch norms at load (inference only).
    """

    mode: str
    precision: PrecisionPolicy
    layout: Layout = "auto"
    training: bool = False
    fold_batch_norm: bool = False

    def require(self, backend: str, *, modes: Sequence[str], precisions: Sequence[str], layouts: Sequence[str]) -> None:
        """Raises UnavailableError where the mode, precision or layout is not among those that a backend has."""
        asked = (
            ("mode", self.mode, modes),
            ("precision", self.precision.name, precisions),
            ("layout", self.layout, ("auto", *layouts)),
        )
        for what, name, known in asked:
            if name not in known:
                raise UnavailableError(
                    f"backend {backend!r} has no {what} {name!r}",
                    expected=" or ".join(known),
                    remedy=did_you_mean(name, known),
                )


@dataclass(frozen=True)
class Capabilities:
    """What a loaded backend can do; what is missing is a skip with its reason when a suite is planned.

    Args:
        modes, precisions, devices: What there is here (a ``cuda`` only where one is).
        kinds: The layer kinds that it implements itself (composites are lowered).
        gaps: What does not work of those kinds, where; ``Operations.gaps``.
    """

    modes: tuple[str, ...]
    precisions: Mapping[str, tuple[str, ...]]
    devices: tuple[str, ...]
    kinds: frozenset[str]
    gaps: tuple[Gap, ...] = ()


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
    def load(self, weights: HostArrays, state: HostArrays, slots: HostArrays | None = None) -> None:
        """Starts from canonical host arrays; slots are zero where None."""

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


class Backend(ABC):
    """A loaded framework. One instance a process.

    Attributes:
        name: As in its plugin.
        operations: The ops. Programs are bound to them when compiled, so replacing one injects a fault.
    """

    name: ClassVar[str]
    operations: Operations

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What works here."""

    @abstractmethod
    def configure(self, settings: ProcessSettings) -> None:
        """Sets threads and device; called once, before anything is compiled."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Versions, build options and the settings as the framework reports them, for the record."""

    @abstractmethod
    def compile_forward(self, graph: Graph, options: ProgramOptions) -> ForwardProgram:
        """A forward program of the graph (its outputs). Tracing and compiling may wait for the first ``run``."""

    @abstractmethod
    def compile_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None = None) -> GradientProgram:
        """Gradients of ``loss(main output, targets)``, or without a loss of sum <gradient.<output>, output>."""

    @abstractmethod
    def compile_step(self, graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        """One step of ``optimizer`` on ``loss``."""

    @abstractmethod
    def synchronize(self, value: Any = None) -> None:
        """Returns when all work queued so far (or that of ``value``) is done."""

    def device_peak_bytes(self) -> int | None:
        """Peak of the device allocator since ``reset_device_peak``; None where the device is the host."""
        return None

    def reset_device_peak(self) -> None:  # noqa: B027 - an optional hook: the host has no device peak
        """Forgets the device allocator's peak."""
