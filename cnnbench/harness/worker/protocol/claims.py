"""The exchange about claims: an experiment, and the figures that it came to."""

from __future__ import annotations

from typing import ClassVar

from cnnbench.harness.worker.protocol.messages import AnyFloat, Message, Request, Text


class TriedFigure(Message):
    """A figure of an experiment; fields as ``ClaimEvidence`` has them."""

    what: Text
    values: tuple[AnyFloat, ...]
    least: AnyFloat | None = None
    most: AnyFloat | None = None


class ClaimReply(Message):
    """What an experiment came to; fields as ``NetworkClaim`` and ``ClaimFinding`` have them.

    Args:
        verdict: That the figures allow.
    """

    number: int
    statement: Text
    source: Text
    conditions: tuple[Text, ...]
    trains: bool
    evidence: tuple[TriedFigure, ...]
    seconds: float
    lack: Text | None
    verdict: str


class ClaimRequest(Request[ClaimReply]):
    """Tries a claim on the backend that is loaded.

    Args:
        name: A registered claim's.
        mode: Of the backend.
        seeds: How many repetitions what is random gets.
    """

    method: ClassVar[str] = "claim"
    name: str
    mode: str
    seeds: int
