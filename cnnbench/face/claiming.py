"""``examine_claims``: statements about convolutional networks, tried on one backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.claims.claim import ClaimFinding, NetworkClaim, claims
from cnnbench.claims.laboratory import Laboratory
from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.execution.contract import ProcessSettings
from cnnbench.face.backends import chosen_backend

if TYPE_CHECKING:
    import pandas as pd

    from cnnbench.execution.contract import Backend
    from cnnbench.face.backends import ChosenBackend


@dataclass(frozen=True)
class ClaimFindings:
    """What became of some claims.

    Args:
        backend: Who computed, as tables name it.
        seeds: How many repetitions.
        findings: One a claim, in their order.
        kept: The names of those that were not tried again: an earlier call had kept them in its folder.
        notes: Why kept ones were tried again.
    """

    backend: str
    seeds: int
    findings: tuple[ClaimFinding, ...]
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What ``cnnbench claims --json`` prints."""
        return {
            "backend": self.backend,
            "seeds": self.seeds,
            "claims": [_json(item) | {"kept": item.claim.name in self.kept} for item in self.findings],
            "notes": list(self.notes),
        }

    def frame(self) -> pd.DataFrame:
        """One row a figure: claim, verdict, what was measured, its value and interval, and where it should lie."""
        import pandas as pd

        rows = [
            {"claim": found.claim.name, "verdict": found.verdict, **row}
            for found in self.findings
            for row in _json(found)["evidence"]
        ]
        return pd.DataFrame(rows)


def examine_claims(
    names: Sequence[str] = (),
    backend: str = "numpy",
    seeds: int = 10,
    *,
    quick: bool = False,
    folder: Path | str | None = None,
    on_finding: Callable[[ClaimFinding], None] | None = None,
) -> ClaimFindings:
    """Tries claims in float64 on one backend, over several seeds.

    Each result is kept in ``folder`` as soon as it is there. Another call takes it from there if it would be made from
    the same: code of cnnbench and of plugins, packages, backend, seeds, threads. A failed experiment is tried again.

    Args:
        names: Of claims; all unless given.
        backend: ``NAME`` or ``NAME:MODE``.
        seeds: How many repetitions what is random gets, at least 3.
        quick: Leaves out the claims whose experiments train networks, unless they are named.
        folder: Gets ``claims/NAME-BACKEND-MODE.json`` for each claim, and ``claims.md`` with a chart of each that it
            holds for this backend, whenever that was tried.
        on_finding: Called with each as it comes.

    Raises:
        SuiteError: An unknown claim, mode, or too few seeds.
        StorageError: The folder cannot be written.
        UnavailableError: An unknown backend, or one that cannot be used here.
    """
    known = claims()
    for name in names:
        if name not in known:
            raise SuiteError(f"unknown claim {name!r}", remedy=did_you_mean(name, known))
    if seeds < 3:
        raise SuiteError("too few seeds for an interval", received=seeds, expected="3 or more")
    chosen = chosen_backend(backend, "float64")
    loaded = chosen.load(ProcessSettings())
    laboratory = Laboratory(loaded, chosen.mode, tuple(range(seeds)))
    wanted = [c for c in known.values() if (c.name in names if names else not (quick and c.trains))]
    store = None if folder is None else _ClaimsFolder(Path(folder), chosen, loaded, seeds)
    findings, kept = [], []
    for claim in wanted:
        found = None if store is None else store.kept(claim)
        if found is not None:
            kept.append(claim.name)
        else:
            found = claim.examine(laboratory)
            if store is not None:
                store.keep(found)
        findings.append(found)
        if on_finding is not None:
            on_finding(found)
    return ClaimFindings(chosen.series, seeds, tuple(findings), tuple(kept), () if store is None else store.notes)


class _ClaimsFolder:
    """The results that are kept in a folder, and the page of all those of one backend.

    Args:
        folder: Made where it is not there.
        chosen: The backend in its mode. loaded: the same, as it is in this process.
        seeds: How many repetitions.
    """

    def __init__(self, folder: Path, chosen: ChosenBackend, loaded: Backend, seeds: int) -> None:
        from cnnbench.harness.run.claim_records import KeptClaims, read_claims
        from cnnbench.harness.suite.claim_settings import PlannedClaim
        from cnnbench.measurement.environment import allowed_processors
        from cnnbench.measurement.installed import distributions
        from cnnbench.output.claims_page import ClaimsPage

        self._asked = PlannedClaim(
            name="",
            backend=chosen.plugin.name,
            mode=chosen.mode,
            seeds=seeds,
            threads=len(allowed_processors()),
        )
        self._notes: list[str] = []
        self._versions = distributions()
        described = loaded.describe()
        self._records = KeptClaims(folder, (), lambda: self._versions, self._notes.append, described)
        self._page = ClaimsPage(folder, chosen.series)
        for record in read_claims(folder):
            if record.series == chosen.series:
                changed = self._records.changed(record)
                self._page.add(record.finding(), f"made from another {changed[0]} than the last" if changed else None)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why kept results were not taken."""
        return tuple(self._notes)

    def kept(self, claim: NetworkClaim) -> ClaimFinding | None:
        """What an earlier call came to, if it would come to the same today; of a failed experiment nothing."""
        record = self._records.kept(self._asked.model_copy(update={"name": claim.name}))
        return None if record is None or record.result.lack is not None else record.finding()

    def keep(self, found: ClaimFinding) -> None:
        """Writes a result, and the page with it."""
        from cnnbench.harness.passes.events import ClaimTried
        from cnnbench.harness.worker.protocol.claims import ClaimReply

        asked = self._asked.model_copy(update={"name": found.claim.name})
        self._page.add(found)
        self._records.keep(ClaimTried(asked, ClaimReply.of(found), tuple(self._versions.items())))


def _json(found: ClaimFinding) -> dict[str, Any]:
    claim = found.claim
    return {
        "name": claim.name,
        "number": claim.number,
        "statement": claim.statement,
        "source": claim.source,
        "conditions": list(claim.conditions),
        "verdict": found.verdict,
        "seconds": found.seconds,
        "lack": found.lack,
        "evidence": [
            {
                "what": item.what,
                "value": item.value,
                "low": item.interval[0],
                "high": item.interval[1],
                "count": len(item.values),
                "least": item.least,
                "most": item.most,
                "supports": item.supports,
            }
            for item in found.evidence
        ],
    }
