"""``cnnbench bundle`` and ``verify-bundle``: a run as one file, and whether another machine finds what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, show_table

if TYPE_CHECKING:
    from cnnbench.face.bundles import BundleResult


@grouped
def bundle(
    run: o.FoundRun,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: <suite>-<run>.cnnbench.zip.")
    ] = None,
    *,
    shown: o.Shown,
) -> None:
    """Pack a run into one file: suite, plan, environment lock, digests, samples, checks and verdicts."""
    from cnnbench.face.bundles import bundle as pack

    path, made = pack(run.folder, output)
    size = path.stat().st_size
    if shown.json:
        print_json({"file": str(path), "bytes": size, "digest": made.digest, **made.manifest.model_dump(mode="json")})
        return
    echo(f"{path}: run {made.manifest.run}, {len(made.members)} members, {size:,} bytes")
    echo(f"digest: {made.digest}")
    for name, reason in made.manifest.left_out.items():
        echo(f"note: {name} is not packed: {reason}")


@dataclass(frozen=True)
class SecondRun:
    """Where the second run's records and grades go."""

    output: o.NewRuns = o.RUNS
    tracking_uri: o.TrackingUri = None
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the grades as JUnit XML.")] = None
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log the second run to MLflow.")] = False


@grouped
def verify_bundle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.", show_default=False)],
    backend: o.Backends = [],  # noqa: B006 - typer copies it
    base: Annotated[
        str | None, typer.Option("--base", metavar="PYTHON", help="An A/B run's base side here; else it is left out.")
    ] = None,
    threads: o.Threads = None,
    *,
    where: SecondRun,
    shown: o.ShownQuietly,
) -> None:
    """Run a bundle's suite again here, and grade each of its claims."""
    from cnnbench.cli.progress import progress
    from cnnbench.face.bundles import verify_bundle as verified
    from cnnbench.harness.run.files import check_folder_writable, check_writable
    from cnnbench.output.verdict_files import write_grades

    check_folder_writable(where.output, "--output")
    if where.junit is not None:
        check_writable(where.junit, "--junit")
    with progress(quiet=shown.quiet, verbose=shown.verbose) as listen:
        result = verified(
            file,
            backends=backend,
            base=base,
            threads=threads,
            output=where.output,
            recorders=o.recorders(mlflow=where.mlflow, tracking_uri=where.tracking_uri),
            listeners=(listen,),
        )
    found = result.verification
    write_grades(result.folder, found, where.junit)
    if shown.json:
        print_json({"folder": str(result.folder), "exit_code": result.exit_code, **found.model_dump(mode="json")})
    else:
        _show(result)
    raise typer.Exit(result.exit_code)


def _show(result: BundleResult) -> None:
    from cnnbench.output.claim_tables import claims_headline, claims_table
    from cnnbench.output.verdict_tables import differences_table

    found = result.verification
    for table in (differences_table(found.differences, ("in the bundle", "here")), claims_table(found)):
        if table:
            show_table(table)
            echo("")
    for note in result.run.summary.notes:
        echo(f"note: {note}")
    echo(f"records: {result.folder}")
    echo(claims_headline(found))
