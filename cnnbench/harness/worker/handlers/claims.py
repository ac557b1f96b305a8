"""Trying claims in a worker."""

from __future__ import annotations

from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.protocol.claims import ClaimReply, ClaimRequest


def claim(request: ClaimRequest, state: WorkerState) -> ClaimReply:
    """Runs a claim's experiment."""
    from cnnbench.claims.claim import claims
    from cnnbench.claims.laboratory import Laboratory

    laboratory = Laboratory(state.loaded, request.mode, tuple(range(request.seeds)))
    return ClaimReply.of(claims()[request.name].examine(laboratory))
