"""What a worker process holds between requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cnnbench.harness.worker.protocol.messages import Message
from cnnbench.measurement.clock import MACHINE, Clock

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend
    from cnnbench.harness.worker.handlers.rotation import Rotation
    from cnnbench.measurement.sampling import SampleSettings, TimedCall
    from cnnbench.measurement.turns import Turns
    from cnnbench.numerics.session import ProgramSession

SIGN_OF_LIFE_S = 1.0


@dataclass
class PreparedProgram:
    """A program that is ready to be timed. Args: rotation: its calls, on one input after another."""

    rotation: Rotation
    timed: TimedCall
    settings: SampleSettings
    calls_per_sample: int = 1


@dataclass
class WorkerState:
    """What a worker process holds between requests.

    Args:
        emit: Sends an event about the request that is being served.
        backend: The backend that was loaded.
        prepared: Programs by cell.
        sessions: Programs that were opened for checks, and those of the cells, by name.
        turns: The round under way whose samples alternate with those of another process.
        clock: Of phases and signs of life.
    """

    emit: Callable[[Message], None] = lambda event: None
    backend: Backend | None = None
    prepared: dict[str, PreparedProgram] = field(default_factory=dict)
    sessions: dict[str, ProgramSession] = field(default_factory=dict)
    turns: Turns | None = None
    clock: Clock = MACHINE

    @property
    def loaded(self) -> Backend:
        """The backend. Raises RuntimeError where none was loaded."""
        if self.backend is None:
            raise RuntimeError("no backend is loaded")
        return self.backend

    def program(self, cell: str) -> PreparedProgram:
        """The prepared program of a cell. Raises RuntimeError where there is none."""
        if cell not in self.prepared:
            raise RuntimeError(f"no program is prepared for {cell!r}")
        return self.prepared[cell]

    def session(self, name: str) -> ProgramSession:
        """A program that is kept. Raises RuntimeError where there is none."""
        if name not in self.sessions:
            raise RuntimeError(f"no program is kept as {name!r}")
        return self.sessions[name]
