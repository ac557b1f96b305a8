"""Trying claims in a worker."""

from __future__ import annotations

from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.protocol.claims import ClaimReply, ClaimRequest, TriedFigure


def claim(request: ClaimRequest, state: WorkerState) -> ClaimReply:
    """Runs a claim's experiment."""
    from cnnbench.claims.claim import claims
    from cnnbench.claims.laboratory import Laboratory

    found = claims()[request.name].examine(Laboratory(state.loaded, request.mode, tuple(range(request.seeds))))
    tried = found.claim
    return ClaimReply(
        number=tried.number,
        statement=tried.statement,
        source=tried.source,
        conditions=tried.conditions,
        trains=tried.trains,
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
