"""What a backend is: what it offers, how a program of it runs, and what every backend does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

from cnnbench.errors import UnavailableError, did_you_mean
from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.execution.gaps import Gap
from cnnbench.execution.operations import Operations
from cnnbench.execution.own_program import OwnProgram
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
        trains: Whether there is training at all; a suite's training leaves a backend out that only serves.
        native_modes: The modes in which a user's own model of this framework runs as it is, each with what
            ``OwnProgram`` calls it. ``precisions`` has these modes too.
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
    trains: bool = True
    native_modes: Mapping[str, str] = field(default_factory=dict)

    def base_mode(self, mode: str) -> str:
        """The mode of programs of our own that is nearest to a native one; any other is itself.

        Args:
            mode: Of ``modes`` or ``native_modes``.
        """
        own = self.native_modes.get(mode, mode)
        return own if own in self.modes else self.modes[0]

    def unavailable(self) -> str | None:
        """Why the backend cannot be used here, or None."""
        from importlib.util import find_spec

        missing = [module for module in self.requires if find_spec(module) is None]
        if missing:
            return f"{', '.join(missing)} is not installed (pip install 'cnnbench[{self.name}]')"
        return None


class Device(NamedTuple):
    """A device by its kind, ``cpu`` or ``cuda``, and its number among those of the kind."""

    kind: str
    number: int = 0

    @staticmethod
    def read(text: str) -> Device:
        """The device that a suite or an option names: ``cuda:1``; ``cuda`` is the first one."""
        kind, _, index = text.partition(":")
        return Device(kind, int(index or 0))


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
        trained: The full names of the weights that gradients are taken of and that steps update; None for all that are
            trainable. Running statistics change with every training pass, whatever is trained.
        own: The user's own program, which then runs in place of a backend's ops; ``mode`` is the nearest of these.
    """

    mode: str
    precision: PrecisionPolicy
    layout: Layout = "auto"
    training: bool = False
    fold_batch_norm: bool = False
    trained: tuple[str, ...] | None = None
    own: OwnProgram | None = None

    def require(self, backend: str, *, modes: Sequence[str], precisions: Sequence[str], layouts: Sequence[str]) -> None:
        """Raises UnavailableError where a backend does not have this mode, precision or layout.

        Args:
            backend: Its name.
            modes: What it has.
            precisions: By name.
            layouts: Those beside ``auto``, which every backend has.
        """
        if self.own is not None:
            raise UnavailableError("the user's own program runs forward only", where=str(self.own.reference))
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
        """A gradient program of the graph.

        Args:
            graph: Any graph, lowered here as far as the backend needs.
            options: How the program runs.
            loss: Of the main output and the targets; None: of sum <cotangent, output> over all outputs.
        """

    @abstractmethod
    def compile_step(self, graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        """A step program: gradients of ``loss``, and one step of ``optimizer``.

        Args:
            graph: Any graph, lowered here as far as the backend needs.
            options: How the program runs.
            loss: Of the main output and the targets.
            optimizer: The update rule of every weight that the options name as trained.
        """

    @abstractmethod
    def synchronize(self, value: Any = None) -> None:
        """Returns when all work queued so far (or that of ``value``) is done."""

    def device_peak_bytes(self) -> int | None:
        """Peak of the device allocator since ``reset_device_peak``; None where the device is the host."""
        return None

    def reset_device_peak(self) -> None:  # noqa: B027 - an optional hook: the host has no device peak
        """Forgets the device allocator's peak."""
