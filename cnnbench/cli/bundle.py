"""``cnnbench bundle`` and ``verify-bundle``: a run as one file, and whether another machine finds what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.runs import RUNS, Root, Run, find_run
from cnnbench.cli.terminal import print_json, show_table, stdout_reserved
from cnnbench.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnnbench.gates.claims import Verification
    from cnnbench.harness.run.bundle import BundledRun
    from cnnbench.harness.run.extensions import Recorder
    from cnnbench.harness.run.runner import RunResult
    from cnnbench.harness.worker.sides import TwoSides


def bundle(
    run: Run = "latest",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: <suite>-<run>.cnnbench.zip.")
    ] = None,
    runs: Root = RUNS,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Pack a run into one file: suite, plan, environment lock, digests, samples, checks and verdicts."""
    from cnnbench.harness.run.bundle import bundle as pack

    folder = find_run(run, runs)
    path = output or Path(f"{folder.parent.name}-{folder.name}.cnnbench.zip")
    made = pack(folder, path)
    size = path.stat().st_size
    if json:
        print_json({"file": str(path), "bytes": size, "digest": made.digest, **made.manifest.model_dump(mode="json")})
        return
    typer.echo(f"{path}: run {made.manifest.run}, {len(made.members)} members, {size:,} bytes")
    typer.echo(f"digest: {made.digest}")
    for name, reason in made.manifest.left_out.items():
        typer.echo(f"note: {name} is not packed: {reason}")


def verify_bundle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.", show_default=False)],
    backend: Annotated[
        list[str], typer.Option("-b", "--backend", metavar="NAME", help="Only this backend (repeatable).")
    ] = [],  # noqa: B006 - typer copies it
    base: Annotated[
        str | None, typer.Option("--base", metavar="PYTHON", help="An A/B run's base side here; else it is left out.")
    ] = None,
    threads: o.Threads = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where runs' folders are made.")] = RUNS,
    tracking_uri: Annotated[str | None, typer.Option(metavar="URI", help="MLflow's store or server.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the grades as JUnit XML.")] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log the second run to MLflow.")] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Run a bundle's suite again here, and grade each of its claims."""
    from cnnbench.cli.runs import recorders
    from cnnbench.gates.bundles import verification
    from cnnbench.harness.run.bundle import unpack
    from cnnbench.harness.run.bundle_file import read_bundle
    from cnnbench.harness.run.exit_codes import DEFECT, INTERRUPTED, WORKER_FAILED, worst
    from cnnbench.harness.run.store import to_json, write_atomically

    run = unpack(read_bundle(file), str(file))
    where = recorders(mlflow=mlflow, tracking_uri=tracking_uri)
    with stdout_reserved():
        result = _again(run, _How(output, _sides(run, base), threads, tuple(backend), quiet, verbose), where)
    found = verification(run, result.folder)
    write_atomically(result.folder / "verification.json", to_json(found))
    _publish(found, result.folder, junit)
    grave = [code for code in (result.exit_code,) if code in (DEFECT, INTERRUPTED, WORKER_FAILED)]
    code = worst([found.exit_code, *grave])
    if json:
        print_json({"folder": str(result.folder), "exit_code": code, **found.model_dump(mode="json")})
    else:
        _show(found, result)
    raise typer.Exit(code)


@dataclass(frozen=True)
class _How:
    """How a bundle is run again."""

    root: Path
    sides: TwoSides | None
    threads: int | None
    backends: tuple[str, ...]
    quiet: bool
    verbose: bool


def _sides(run: BundledRun, base: str | None) -> TwoSides | None:
    """Both interpreters where the base's is named."""
    import sys

    from cnnbench.harness.worker.sides import both

    if base is None:
        return None
    if not any(cell.side == "base" for cell in run.plan.cells):
        raise SuiteError("the bundle is of no A/B run", where="--base", received=base, remedy="leave --base out")
    return both(base, sys.executable)


def _publish(found: Verification, folder: Path, junit: Path | None) -> None:
    """The grades as Markdown beside the records and in the job's summary, and as JUnit XML where that is wanted."""
    from cnnbench.harness.run.store import write_atomically
    from cnnbench.output.github_summary import append_summary
    from cnnbench.output.junit import claim_cases, render_junit
    from cnnbench.output.markdown import verification_markdown

    text = verification_markdown(found)
    write_atomically(folder / "verification.md", text)
    append_summary(text)
    if junit is not None:
        write_atomically(junit, render_junit(f"{found.suite} verification", claim_cases(found)))


def _again(run: BundledRun, how: _How, where: Mapping[str, Recorder]) -> RunResult:
    """The second run, with its reports."""
    from tempfile import TemporaryDirectory

    from cnnbench.cli.ab import on_both_sides
    from cnnbench.cli.progress import progress
    from cnnbench.harness.run.rerun import Rerun, write_attachments
    from cnnbench.harness.run.runner import RunOptions
    from cnnbench.harness.run.runner import run as run_plan
    from cnnbench.output.reports import write_reports

    with TemporaryDirectory(prefix="cnnbench-bundle-") as folder:
        files = write_attachments(run, Path(folder))
        plan = Rerun(files, how.threads, how.backends, how.sides.unavailable if how.sides else None).plan(run)
        options = RunOptions(root=how.root, recorders=where)
        if how.sides is not None:
            options = on_both_sides(options, plan, how.sides)
        with progress(quiet=how.quiet, verbose=how.verbose) as listen:
            result = run_plan(plan, options, [listen])
        write_reports(result.folder)
    return result


def _show(found: Verification, result: RunResult) -> None:
    from cnnbench.output.claim_tables import claims_headline, claims_table
    from cnnbench.output.verdict_tables import differences_table

    for table in (differences_table(found.differences, ("in the bundle", "here")), claims_table(found)):
        if table:
            show_table(table)
            typer.echo("")
    for note in result.summary.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"records: {result.folder}")
    typer.echo(claims_headline(found))
