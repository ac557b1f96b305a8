"""``claims/<id>.json`` of a run: what became of a claim, with what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cnnbench.errors import DataError
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


class ClaimRow(Frozen):
    """A claim in a run's summary. Args: verdict: None where it was not tried. reason: why not."""

    name: str
    backend: str
    mode: str
    verdict: str | None = None
    reason: str | None = None


class KeptClaims:
    """The claims of a run, each a file that says what it was made from; one made from something else is tried again.

    Args:
        folder: The run's.
        planned: What it tries.
        installed: Gives the versions of all that is installed.
        note: Takes a sentence for the summary.
    """

    def __init__(
        self,
        folder: Path,
        planned: tuple[PlannedClaim, ...],
        installed: Callable[[], Mapping[str, str]],
        note: Callable[[str], None],
    ) -> None:
        self._folder, self._planned, self._installed, self._note = folder, planned, installed, note

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
        return tuple(claim for claim in self._planned if claim.skip is None and self._kept(claim) is None)

    def rows(self) -> tuple[ClaimRow, ...]:
        """For the summary, every claim that was planned."""
        return tuple(_row(claim, self._kept(claim)) for claim in self._planned)

    def _kept(self, claim: PlannedClaim) -> ClaimRecord | None:
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

    def _sources(self, claim: PlannedClaim) -> dict[str, str]:
        return {
            "claim": content_digest(claim.model_dump(mode="json", exclude={"skip"})),
            "set of packages": content_digest(dict(self._installed())),
            "cnnbench": f"{__version__} {own_digest()}",
            "code of plugins": plugin_digest(),
        }


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
