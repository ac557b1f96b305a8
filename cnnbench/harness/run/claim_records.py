"""``claims/<id>.json`` of a run or of a folder of claims: what became of a claim, with what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cnnbench.errors import DataError, SpecError
from cnnbench.execution.sources import own_digest, plugin_digest
from cnnbench.harness.passes.events import ClaimTried
from cnnbench.harness.run.files import read_model, to_json, write_atomically
from cnnbench.harness.run.provenance import differences
from cnnbench.harness.run.record import SCHEMA_VERSION
from cnnbench.harness.suite.claim_settings import PlannedClaim
from cnnbench.harness.worker.protocol.claims import ClaimReply
from cnnbench.spec.content import content_digest
from cnnbench.spec.frozen import Frozen
from cnnbench.version import __version__

if TYPE_CHECKING:
    from cnnbench.claims.claim import ClaimFinding
    from cnnbench.claims.laboratory import Laboratory

FOLDER = "claims"


class ClaimRecord(Frozen):
    """A claim that was tried.

    Args:
        claim: On which backend, over how many seeds.
        result: The statement, the figures and the verdict.
        made_from: What the figures depend on, by digests. versions: of the worker's packages.
    """

    schema_version: int = SCHEMA_VERSION
    claim: PlannedClaim
    result: ClaimReply
    made_from: dict[str, str]
    versions: dict[str, str]

    @property
    def series(self) -> str:
        """Backend and mode, as tables name them."""
        return f"{self.claim.backend} {self.claim.mode}"

    def finding(self) -> ClaimFinding:
        """The result as experiments give it; the claim's own experiment is not in the record."""
        from cnnbench.claims.claim import ClaimEvidence, ClaimFinding, NetworkClaim

        found = self.result
        claim = NetworkClaim(
            self.claim.name,
            found.number,
            found.statement,
            found.source,
            _tried_before,
            found.conditions,
            found.trains,
        )
        evidence = tuple(ClaimEvidence(item.what, item.values, item.least, item.most) for item in found.evidence)
        return ClaimFinding(claim, evidence, found.seconds, found.lack)


def _tried_before(laboratory: Laboratory) -> NoReturn:
    raise SpecError("what was read from a folder has no experiment", remedy="cnnbench claims tries it again")


class ClaimRow(Frozen):
    """A claim in a run's summary. Args: verdict: None where it was not tried. reason: why not."""

    name: str
    backend: str
    mode: str
    verdict: str | None = None
    reason: str | None = None


class KeptClaims:
    """Claims in a folder, each a file that says what it was made from; one made from something else is tried again.

    Args:
        folder: The run's, or another.
        planned: What is tried.
        installed: Gives the versions of all that is installed.
        note: Takes a sentence for the summary.
        described: What a backend in this process says of itself; of a worker's, the versions and threads say it.
    """

    def __init__(
        self,
        folder: Path,
        planned: tuple[PlannedClaim, ...],
        installed: Callable[[], Mapping[str, str]],
        note: Callable[[str], None],
        described: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._planned, self._installed, self._note = folder, planned, installed, note
        self._described = described

    def keep(self, event: ClaimTried) -> None:
        """Writes what became of a claim."""
        record = ClaimRecord(
            claim=event.claim,
            result=event.reply,
            made_from=self._sources(event.claim),
            versions=dict(event.versions),
        )
        write_atomically(_path(self._folder, event.claim), to_json(record))

    def missing(self) -> tuple[PlannedClaim, ...]:
        """Those that can be tried here and were not, as things are now."""
        return tuple(claim for claim in self._planned if claim.skip is None and self.kept(claim) is None)

    def rows(self) -> tuple[ClaimRow, ...]:
        """For the summary, every claim that was planned."""
        return tuple(_row(claim, self.kept(claim)) for claim in self._planned)

    def kept(self, claim: PlannedClaim) -> ClaimRecord | None:
        """What became of a claim, if it would be made from the same today."""
        path = _path(self._folder, claim)
        if not path.is_file():
            return None
        try:
            record = read_model(path, ClaimRecord)
        except DataError as error:
            self._note(f"the claim {claim.name} is tried again: {error}")
            return None
        differing = differences(record.made_from, self._sources(claim))
        if differing:
            self._note(f"the claim {claim.name} is tried again: it was made from another {differing[0]}")
        return None if differing else record

    def changed(self, record: ClaimRecord) -> list[str]:
        """What a record was made from that is another today; that it has other seeds does not count."""
        return differences(record.made_from, self._sources(record.claim))

    def _sources(self, claim: PlannedClaim) -> dict[str, str]:
        found = {
            "claim": content_digest([claim.name, claim.backend, claim.mode]),
            "number of seeds": str(claim.seeds),
            "number of threads": str(claim.threads),
            "set of packages": content_digest(dict(self._installed())),
            "cnnbench": f"{__version__} {own_digest()}",
            "code of plugins": plugin_digest(),
        }
        return found if self._described is None else found | {"backend": content_digest(dict(self._described))}


def read_claims(folder: Path) -> tuple[ClaimRecord, ...]:
    """Every claim of a run that was tried, by backend in the order of numbers; a file that cannot be read is left out.

    Args:
        folder: The run's.
    """
    found = []
    for path in (folder / FOLDER).glob("*.json"):
        with suppress(DataError):
            found.append(read_model(path, ClaimRecord))
    return tuple(sorted(found, key=lambda item: (item.claim.backend, item.claim.mode, item.result.number)))


def _path(folder: Path, claim: PlannedClaim) -> Path:
    return folder / FOLDER / f"{claim.id}.json"


def _row(claim: PlannedClaim, record: ClaimRecord | None) -> ClaimRow:
    row = ClaimRow(name=claim.name, backend=claim.backend, mode=claim.mode)
    if record is None:
        return row.model_copy(update={"reason": claim.skip or "it was not tried"})
    return row.model_copy(update={"verdict": record.result.verdict, "reason": record.result.lack})
