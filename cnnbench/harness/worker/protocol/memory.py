"""Exchanges about resident memory: without a network, and at the peak of warm calls."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from cnnbench.harness.worker.protocol.messages import Message, Request, Text


class NullMemoryReply(Message):
    """What is resident without a network. Args: unavailable: why memory cannot be measured, or None."""

    null_bytes: int | None
    unavailable: Text | None = None


class NullMemoryRequest(Request[NullMemoryReply]):
    """Runs a network of one ReLU: framework, runtime and threads are there after it, but no network."""

    method: ClassVar[str] = "null_memory"
    precision: str
    mode: str


class PeakMemoryReply(Message):
    """The most that was resident, and the device allocator's peak (None on the processor)."""

    peak_bytes: int
    device_peak_bytes: int | None


class PeakMemoryRequest(Request[PeakMemoryReply]):
    """Calls a prepared program warm, so many times."""

    method: ClassVar[str] = "peak_memory"
    cell: str
    calls: int = Field(ge=1)
