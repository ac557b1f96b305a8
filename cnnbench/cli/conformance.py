"""``cnnbench conformance``: ONNX's own tests of operators on one backend, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.conformance.onnx import ConformanceReport, OnnxCase, OnnxResult

MISMATCH = 4
NOTHING_COMPARED = 5


@grouped
def conformance(
    backend: Annotated[str, typer.Argument(metavar="BACKEND", help="numpy, torch ...", show_default=False)],
    mode: o.Mode = None,
    extended: Annotated[
        bool, typer.Option("--extended/--core", help="The extended list too, or the core list alone.")
    ] = True,
    expression: Annotated[
        str | None,
        typer.Option("-k", metavar="EXPR", help="Only cases whose name or operator fits: 'conv and not 3d'."),
    ] = None,
    threads: o.Threads = None,
    *,
    shown: o.ShownQuietly,
) -> None:
    """Run ONNX's own tests of operators on a backend."""
    cases = _chosen(extended=extended, expression=expression)

    def progress(name: str) -> None:
        if shown.verbose:
            echo(name, err=True)

    report = _run(backend, mode, threads, cases, progress)
    if shown.json:
        print_json(report.to_json())
    else:
        _print(report, quiet=shown.quiet)
    if report.failed_core:
        raise typer.Exit(MISMATCH)
    if report.empty:
        raise typer.Exit(NOTHING_COMPARED)


def _chosen(*, extended: bool, expression: str | None) -> list[OnnxCase]:
    """The cases of the lists that the expression leaves. Raises SuiteError where it leaves none."""
    from cnnbench.conformance.onnx import GROUPS, load_cases
    from cnnbench.errors import SuiteError
    from cnnbench.harness.suite.selection import compile_expression

    cases = load_cases(GROUPS if extended else ("core",))
    if expression is not None:
        fits = compile_expression(expression)
        cases = [case for case in cases if fits(f"{case.name} {case.listed.operator}")]
    if not cases:
        raise SuiteError("no case is left", where="-k", received=expression)
    return cases


def _run(
    name: str, mode: str | None, threads: int | None, cases: list[OnnxCase], progress: Callable[[str], None]
) -> ConformanceReport:
    from cnnbench.conformance.onnx import ConformanceReport, run_onnx_cases
    from cnnbench.execution.contract import ProcessSettings, ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.face.backends import chosen_backend

    chosen = chosen_backend(name if mode is None else f"{name}:{mode}")
    loaded = chosen.load(ProcessSettings(threads=threads))
    options = ProgramOptions(chosen.mode, precision("float32"))
    return ConformanceReport(name, chosen.mode, tuple(run_onnx_cases(loaded, options, cases, progress)))


def _print(report: ConformanceReport, *, quiet: bool) -> None:
    from cnnbench.conformance.onnx import GROUPS

    columns = ("passed", "failed", "skipped", "total")
    if not quiet:
        rows = [(name, *(counts[key] for key in columns)) for name, counts in report.operators().items()]
        print_table(("operator", *columns), rows)
        echo("")
    for status in ("failed", "skipped"):
        _print_reasons([item for item in report.results if item.status == status], status)
    for group in GROUPS:
        counts = report.counts(group)
        if counts["total"]:
            shown = ", ".join(f"{counts[key]} {key}" for key in columns[:-1])
            echo(f"{report.backend} {report.mode}, {group}: {shown} of {counts['total']}")


def _print_reasons(results: list[OnnxResult], status: str) -> None:
    """Each reason once, with the cases that have it."""
    by_reason: dict[str, list[str]] = {}
    for item in results:
        by_reason.setdefault(item.message, []).append(item.name)
    for reason, names in by_reason.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        echo(f"{status}: {shown}\n  {reason}")
    if by_reason:
        echo("")
