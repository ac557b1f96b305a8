"""The pass of claims: each experiment in a worker of its backend; one that crashes or hangs costs that claim alone."""

from __future__ import annotations

import sys

from cnnbench.errors import CnnbenchError, StorageError
from cnnbench.harness.passes.events import ClaimTried
from cnnbench.harness.passes.work import Work
from cnnbench.harness.worker.protocol.claims import ClaimRequest
from cnnbench.harness.worker.specification import WorkerSpec


def claim_pass(work: Work) -> None:
    """Tries every claim of the run that was not tried yet. Args: work: The pass."""
    claims = work.facts.claims
    if not claims:
        return
    with work.pool() as pool:
        for claim in claims:
            try:
                loaded = pool.get(WorkerSpec(claim.backend, python=sys.executable, threads=claim.threads))
                request = ClaimRequest(name=claim.name, mode=claim.mode, seeds=claim.seeds)
                with work.watch.timing("claims"):
                    reply = loaded.worker.ask(request, timeout_s=work.facts.suite.timeouts.claim_s)
            except StorageError:
                raise
            except CnnbenchError as error:
                work.note(f"the claim {claim.name} was not tried on {claim.backend}: {error}")
                continue
            work.report(ClaimTried(claim, reply, tuple(loaded.versions.items())))
