"""Resumable fuzzing: network after network on every backend, with the progress saved after each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnbench.fuzzing.coverage import added, classes_of
from cnnbench.fuzzing.examination import CHECKS, FailedCheck, Series, examine, finding, reduced
from cnnbench.fuzzing.findings import NETWORK, Finding, Signature
from cnnbench.fuzzing.known import known_defect
from cnnbench.fuzzing.network import draw_network
from cnnbench.fuzzing.progress import OutcomeCount, Progress, beginning, read_progress, write_progress
from cnnbench.fuzzing.values import draw_case
from cnnbench.measurement.clock import Clock
from cnnbench.numerics.case import Case

ATTEMPTS = 2  # at a network that ends this process
REPEATED = 3  # failures of no single node that are reduced although one of the same backend and check is known
SPECIAL_EVERY = 4  # networks between two that are run on NaN, infinities and denormals too


@dataclass(frozen=True)
class Limits:
    """Limits of one call: a number of networks or of seconds, whichever is reached first; None for no limit."""

    count: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Campaign:
    """Fuzzing that continues from the progress in its folder.

    Args:
        series: Who runs each network.
        seed: Of the sequence of networks.
        folder: Where progress, findings and reproducers are kept; None for nowhere.
        on_start: Called with the number of the first network.
        on_network: Called with the progress after each network.
        on_finding: Called with each new finding.
        clock: Of the limits.
    """

    series: Sequence[Series]
    seed: int = 0
    folder: Path | None = None
    on_start: Callable[[int], None] = lambda number: None
    on_network: Callable[[Progress], None] = lambda progress: None
    on_finding: Callable[[Finding], None] = lambda finding: None
    clock: Clock = field(default_factory=Clock)

    def run(self, limits: Limits) -> tuple[Progress, tuple[Finding, ...]]:
        """Runs networks up to the limits; the progress, and what was found that was not known."""
        progress = beginning(self.seed) if self.folder is None else read_progress(self.folder, self.seed)
        before = {item.signature for item in progress.findings}
        first, start = progress.number, self.clock.now()
        self.on_start(first)
        while not self._ended(limits, progress.number - first, self.clock.now() - start):
            begun = self.clock.now()
            progress = progress.model_copy(update={"attempts": progress.attempts + 1})
            self._keep(progress)
            if progress.attempts <= ATTEMPTS:
                progress = self._one_network(progress)
            seconds = progress.seconds + self.clock.now() - begun
            progress = progress.model_copy(
                update={"number": progress.number + 1, "attempts": 0, "seconds": round(seconds, 3)}
            )
            self._keep(progress)
            self.on_network(progress)
        return progress, tuple(f for f in progress.findings if f.signature not in before and f.known is None)

    def _ended(self, limits: Limits, count: int, seconds: float) -> bool:
        return (limits.count is not None and count >= limits.count) or (
            limits.seconds is not None and seconds >= limits.seconds
        )

    def _keep(self, progress: Progress) -> None:
        if self.folder is not None:
            write_progress(self.folder, progress)

    def _one_network(self, progress: Progress) -> Progress:
        drawn = draw_case(draw_network(self.seed, progress.number))
        if drawn is None:
            return progress.model_copy(update={"empty": progress.empty + 1})
        special = progress.number % SPECIAL_EVERY == 0
        counts = Counter({(item.series, item.check, item.status): item.count for item in progress.outcomes})
        findings = {item.signature: item for item in progress.findings}
        for series in self.series:
            case = series.question(drawn.case)
            if case is None:
                counts[series.name, "precision", "skipped"] += 1
                continue
            checks = (*CHECKS, "special") if special and not series.slow else CHECKS
            outcomes, failures = examine(series, case, checks)
            counts.update((series.name, item.name, item.status) for item in outcomes)
            for failure in failures:
                self._take(findings, series, case, failure, progress.number)
        return progress.model_copy(
            update={
                "networks": progress.networks + 1,
                "outcomes": tuple(
                    OutcomeCount(series=name, check=check, status=status, count=count)
                    for (name, check, status), count in sorted(counts.items())
                ),
                "coverage": added(progress.coverage, classes_of(drawn.case)),
                "findings": tuple(findings.values()),
            }
        )

    def _take(
        self, findings: dict[Signature, Finding], series: Series, case: Case, failure: FailedCheck, number: int
    ) -> None:
        """Counts a failure that is known; reduces and keeps one that is new."""
        if (name := _already(findings, failure.signature)) is not None:
            findings[name] = findings[name].model_copy(update={"seen": findings[name].seen + 1})
            return
        small, outcome = reduced(series, case, failure, CHECKS, self.clock)
        named = _of_network(failure.signature, small)
        if (known := findings.get(named)) is not None:
            findings[named] = known.model_copy(update={"seen": known.seen + 1})
            return
        item = finding(series, case, small, FailedCheck(named, outcome), number, self.folder)
        findings[named] = item.model_copy(update={"known": known_defect(item)})
        self.on_finding(findings[named])


def _already(findings: Mapping[Signature, Finding], signature: Signature) -> Signature | None:
    """The finding that a failure is one more case of."""
    if signature.kind != NETWORK:
        return signature if signature in findings else None
    asked = (signature.backend, signature.mode, signature.check, NETWORK)
    alike = [name for name in findings if (name.backend, name.mode, name.check, name.kind) == asked]
    seen = sum(findings[name].seen for name in alike)
    return alike[-1] if seen >= REPEATED else None


def _of_network(signature: Signature, small: Case) -> Signature:
    """The name of a failure of no single node, with the kinds of the smallest network."""
    if signature.kind != NETWORK:
        return signature
    return signature.model_copy(update={"kinds": tuple(node.layer.kind for node in small.graph.nodes[:4])})
