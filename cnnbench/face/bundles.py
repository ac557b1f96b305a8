"""``bundle`` and ``verify_bundle``: a run as one file, and whether another machine finds what it found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Unpack

from cnnbench.errors import SuiteError
from cnnbench.face.keywords import OutputKeywords, takes
from cnnbench.face.running import execute
from cnnbench.face.two_sides import on_both_sides
from cnnbench.gates.bundles import verification
from cnnbench.gates.claims import Verification
from cnnbench.harness.run.bundle import BundledRun, unpack
from cnnbench.harness.run.bundle import bundle as pack
from cnnbench.harness.run.bundle_file import BundleFile, read_bundle
from cnnbench.harness.run.exit_codes import DEFECT, WORKER_FAILED, worst
from cnnbench.harness.run.lookup import RunLike, find_run
from cnnbench.harness.run.rerun import Rerun, write_attachments
from cnnbench.harness.run.runner import RunOptions, RunResult
from cnnbench.harness.run.store import DEFAULT_ROOT, RunStore
from cnnbench.harness.worker.scratch import scratch_prefix
from cnnbench.harness.worker.sides import TwoSides, both


@dataclass(frozen=True)
class BundleResult:
    """What a bundle's second run found.

    Args:
        run: That run.
        verification: The bundle's claims, graded by it.
    """

    run: RunResult
    verification: Verification

    @property
    def folder(self) -> Path:
        """The second run's folder."""
        return self.run.folder

    @property
    def exit_code(self) -> int:
        """That of the grades, or of a second run that did not end well."""
        grave = [code for code in (self.run.exit_code,) if code in (DEFECT, WORKER_FAILED)]
        return worst([self.verification.exit_code, *grave])


def bundle(run: RunLike, file: Path | str | None = None, root: Path | str = DEFAULT_ROOT) -> tuple[Path, BundleFile]:
    """Packs a run into one file: suite, plan, environment lock, digests, samples, checks and verdicts.

    Args:
        run: The run.
        file: Where; ``<suite>-<run>.cnnbench.zip`` in the working folder unless given.
        root: Where runs' folders lie.

    Returns:
        The file, and what it holds.

    Raises:
        SuiteError: There is no such run. DataError: a file of it is missing or damaged.
    """
    folder = find_run(run, root)
    store = RunStore.open(folder)
    path = Path(file or f"{store.read_plan().suite.name}-{store.id}.cnnbench.zip")
    return path, pack(folder, path)


@takes(OutputKeywords)
def verify_bundle(
    file: Path | str,
    *,
    backends: Sequence[str] = (),
    base: str | None = None,
    threads: int | None = None,
    **how: Unpack[OutputKeywords],
) -> BundleResult:
    """Runs a bundle's suite again here, and grades each of its claims.

    Args:
        file: The bundle.
        backends: Only these; () for all that it has.
        base: The interpreter of an A/B run's base side here; without it that side is left out.
        threads: Computing threads; the bundle's unless given.
        how: The keywords below. Recorders hear of the second run only where they are named.

    Raises:
        DataError: The file is no bundle, or is damaged.
        SuiteError: A base for a bundle that is of no A/B run.
    """
    run = unpack(read_bundle(Path(file)), str(file))
    sides = _sides(run, base)
    with TemporaryDirectory(prefix=scratch_prefix("bundle")) as folder:
        files = write_attachments(run, Path(folder))
        plan = Rerun(files, threads, tuple(backends), sides.unavailable if sides else None).plan(run)
        options = RunOptions(root=Path(how.get("output", DEFAULT_ROOT)))
        if sides is not None:
            options = on_both_sides(options, plan, sides)
        recorders = how.get("recorders", ())
        result = execute(plan, options, {"recorders": recorders, "listeners": how.get("listeners", ())})
    return BundleResult(result, verification(run, result.folder))


def _sides(run: BundledRun, base: str | None) -> TwoSides | None:
    """Both interpreters where the base's is named."""
    if base is None:
        return None
    if not any(cell.side == "base" for cell in run.plan.cells):
        raise SuiteError("the bundle is of no A/B run", where="--base", received=base, remedy="leave --base out")
    return both(base, sys.executable)
