"""What the machine did while something was timed: processors used, time stolen, switches, clock frequency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from cnnbench.measurement.clock import MACHINE, Clock

IDLE_LIMIT_S = 0.5
_STAT = Path("/proc/stat")
_CPUINFO = Path("/proc/cpuinfo")
# of /proc/stat's line "cpu": user nice system idle iowait irq softirq steal
_IDLE_FIELDS = (3, 4)
_STOLEN_FIELD = 7
_COUNTED_FIELDS = 8


@dataclass(frozen=True)
class Observation:
    """A stretch of time of this process.

    Args:
        processor_s: Processor time of all its threads. stolen_s, machine_s: the hypervisor's share of all
            processors' time, and all of it; None where the kernel does not tell.
        involuntary_switches: Times that a thread was taken off its processor.
        frequency_hz: Mean over processors at the end; None where the kernel does not tell.
        foreign_s: Processor time of everything else on this machine; None where the kernel does not tell.
    """

    wall_s: float
    processor_s: float
    stolen_s: float | None
    machine_s: float | None
    involuntary_switches: int | None
    frequency_hz: float | None
    foreign_s: float | None = None

    @property
    def threads(self) -> float:
        """Processors kept busy on average."""
        return self.processor_s / self.wall_s if self.wall_s > 0 else 0.0


def observe(clock: Clock = MACHINE) -> Callable[[], Observation]:
    """Starts an observation; the function returned ends it."""
    wall, processor, machine, switches = clock.now(), clock.processor(), _machine(), _switches()

    def end() -> Observation:
        elapsed, used = clock.now() - wall, clock.processor() - processor
        spent = _spent(machine, _machine())
        later = _switches()
        return Observation(
            wall_s=elapsed,
            processor_s=used,
            stolen_s=spent.stolen_s if spent else None,
            machine_s=spent.total_s if spent else None,
            involuntary_switches=later - switches if later is not None and switches is not None else None,
            frequency_hz=frequency_hz(),
            foreign_s=max(0.0, spent.busy_s - used) if spent else None,
        )

    return end


def processor_seconds(pid: int) -> float | None:
    """Processor time of another process so far; None where the kernel does not tell."""
    import os

    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None


def children_seconds(pid: int) -> float:
    """Processor time so far of all processes that another has started, those that have ended and were waited for too.

    0 where the kernel does not tell.
    """
    import os

    return _ended_children(pid, os.sysconf("SC_CLK_TCK")) + sum(
        (processor_seconds(child) or 0.0) + _ended_children(child, os.sysconf("SC_CLK_TCK"))
        for child in descendants(pid)
    )


def _ended_children(pid: int, ticks: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / ticks
    except (OSError, IndexError, ValueError):
        return 0.0


def descendants(pid: int) -> list[int]:
    """The live processes that a process has started, and theirs; [] where the kernel does not tell."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            lists = [
                path.read_text(encoding="utf-8") for path in Path(f"/proc/{waiting.pop()}/task").glob("*/children")
            ]
        except OSError:
            continue
        children = [int(number) for text in lists for number in text.split()]
        found += children
        waiting += children
    return found


def wait_until_idle(
    clock: Clock = MACHINE, *, share: float = 0.1, step_s: float = 0.02, limit_s: float = IDLE_LIMIT_S
) -> float:
    """Sleeps until this process's threads stop spinning; returns the seconds that took.

    Libraries spin for a while after their work (OpenBLAS about 0.1 s), which would disturb whoever is timed next.

    Args:
        clock: By which the process is watched.
        share: A process that uses less than this share of one processor is idle.
        step_s: How long it is watched at a time.
        limit_s: Waiting ends after this many seconds, idle or not.
    """
    start = clock.now()
    while clock.now() - start < limit_s:
        before = clock.processor()
        clock.sleep(step_s)
        if clock.processor() - before < share * step_s:
            break
    return clock.now() - start


def frequency_hz() -> float | None:
    """The processors' mean clock frequency now."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return fmean(values) * 1e6 if values else None


class _Machine(NamedTuple):
    """Seconds of all processors since the machine was started."""

    busy_s: float
    stolen_s: float
    total_s: float


def _spent(before: _Machine | None, after: _Machine | None) -> _Machine | None:
    if before is None or after is None:
        return None
    return _Machine(*(later - earlier for earlier, later in zip(before, after, strict=True)))


def _machine() -> _Machine | None:
    import os

    try:
        fields = [int(value) for value in _STAT.read_text(encoding="utf-8").splitlines()[0].split()[1:]][
            :_COUNTED_FIELDS
        ]
        tick = os.sysconf("SC_CLK_TCK")
        stolen, idle = fields[_STOLEN_FIELD], sum(fields[i] for i in _IDLE_FIELDS)
    except (OSError, IndexError, ValueError):
        return None
    return _Machine((sum(fields) - stolen - idle) / tick, stolen / tick, sum(fields) / tick)


def _switches() -> int | None:
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
