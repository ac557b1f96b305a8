"""``examine_claims``: statements about convolutional networks, tried on one backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.claims.claim import ClaimFinding, claims
from cnnbench.claims.laboratory import Laboratory
from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.execution.contract import ProcessSettings
from cnnbench.face.backends import chosen_backend

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ClaimFindings:
    """What became of some claims.

    Args:
        backend: Who computed, as tables name it.
        seeds: How many repetitions.
        findings: One a claim, in their order.
    """

    backend: str
    seeds: int
    findings: tuple[ClaimFinding, ...]

    def to_json(self) -> dict[str, Any]:
        """What ``cnnbench claims --json`` prints."""
        return {"backend": self.backend, "seeds": self.seeds, "claims": [_json(item) for item in self.findings]}

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
    on_finding: Callable[[ClaimFinding], None] | None = None,
) -> ClaimFindings:
    """Tries claims in float64 on one backend, over several seeds.

    Args:
        names: Of claims; all unless given.
        backend: ``NAME`` or ``NAME:MODE``.
        seeds: How many repetitions what is random gets, at least 3.
        quick: Leaves out the claims whose experiments train networks, unless they are named.
        on_finding: Called with each as it comes.

    Raises:
        SuiteError: An unknown claim, mode, or too few seeds.
        UnavailableError: An unknown backend, or one that cannot be used here.
    """
    known = claims()
    for name in names:
        if name not in known:
            raise SuiteError(f"unknown claim {name!r}", remedy=did_you_mean(name, known))
    if seeds < 3:
        raise SuiteError("too few seeds for an interval", received=seeds, expected="3 or more")
    chosen = chosen_backend(backend, "float64")
    laboratory = Laboratory(chosen.load(ProcessSettings()), chosen.mode, tuple(range(seeds)))
    findings = []
    for claim in known.values():
        if (names and claim.name not in names) or (quick and claim.trains and not names):
            continue
        findings.append(claim.examine(laboratory))
        if on_finding is not None:
            on_finding(findings[-1])
    return ClaimFindings(chosen.series, seeds, tuple(findings))


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
