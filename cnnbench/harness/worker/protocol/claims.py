"""The exchange about claims: an experiment, and the figures that it came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cnnbench.harness.worker.protocol.messages import AnyFloat, Message, Request, Text

if TYPE_CHECKING:
    from cnnbench.claims.claim import ClaimFinding


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

    @classmethod
    def of(cls, found: ClaimFinding) -> ClaimReply:
        """A finding as a message."""
        claim = found.claim
        return cls(
            number=claim.number,
            statement=claim.statement,
            source=claim.source,
            conditions=claim.conditions,
            trains=claim.trains,
            evidence=tuple(
                TriedFigure(
                    what=item.what,
                    values=tuple(map(float, item.values)),
                    least=None if item.least is None else float(item.least),
                    most=None if item.most is None else float(item.most),
                )
                for item in found.evidence
            ),
            seconds=found.seconds,
            lack=found.lack,
            verdict=found.verdict,
        )


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
