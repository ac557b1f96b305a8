"""A bundled run as evidence, and its verification by a second run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cnnbench.gates.baselines import snapshot
from cnnbench.gates.claims import Verification, graded
from cnnbench.gates.compare import differences
from cnnbench.gates.evidence import Evidence, read_evidence
from cnnbench.gates.rules import Rules
from cnnbench.harness.run.bundle import BundledRun, portable
from cnnbench.measurement.environment import fingerprint


def bundled_evidence(run: BundledRun) -> Evidence:
    """A bundled run as gates and reports read one."""
    return Evidence(
        suite=run.plan.suite.name,
        run_id=run.manifest.run,
        records=run.records,
        unrecorded=tuple(cell for cell in run.plan.cells if cell.id not in {item.cell.id for item in run.records}),
        environment=run.environment,
        fingerprint=fingerprint(run.environment),
        yardsticks=run.summary.yardsticks,
        samples=run.samples,
        budgets=run.budgets,
        seconds=run.summary.seconds,
        notes=run.summary.notes,
        settings=run.plan.suite.model_dump(mode="json"),
    )


def verification(run: BundledRun, folder: Path) -> Verification:
    """The claims of a bundle, graded by the run in ``folder``, with what differs between the two."""
    return verification_of(run, read_evidence(folder))


def verification_of(run: BundledRun, again: Evidence) -> Verification:
    """As ``verification``, of a second run that is at hand."""
    bundled = bundled_evidence(run)
    here = replace(again, environment=portable(dict(again.environment)))
    return Verification(
        suite=run.plan.suite.name,
        bundle=run.digest,
        bundled_run=run.manifest.run,
        run=again.run_id,
        differences=tuple(differences(snapshot(bundled), snapshot(here))),
        claims=graded(bundled, again, Rules.of(run.plan.suite)),
    )
