"""``cnnbench ab``: one suite in two environments at once, round by round, and a verdict on every cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, show_notes, show_results, show_table
from cnnbench.cli.verdicts import show_verdicts

if TYPE_CHECKING:
    from cnnbench.face.two_sides import ABResult
    from cnnbench.gates.verdicts import GateResult


@dataclass(frozen=True)
class Interpreters:
    """The two environments."""

    base: Annotated[str | None, typer.Option("--base", metavar="PYTHON", help="The interpreter to compare with.")] = (
        None
    )
    head: Annotated[
        str | None, typer.Option("--head", metavar="PYTHON", help="The interpreter to judge; default: this one.")
    ] = None


@grouped
def ab(
    suite: o.OptionalSuite = None,
    *,
    pythons: Interpreters,
    chosen: o.Selection,
    start: o.Start,
    where: o.Destination,
    shown: o.ShownQuietly,
) -> None:
    """Compare two environments on one machine at one time; ends with 1 where the head regressed."""
    from cnnbench.cli.plan import print_plans
    from cnnbench.cli.progress import progress
    from cnnbench.face.two_sides import compared, continued_ab, planned_ab
    from cnnbench.harness.run.lookup import find_run
    from cnnbench.harness.run.runner import RunInterrupted
    from cnnbench.output.verdict_files import write_verdicts

    if start.resume is not None:
        work = continued_ab(find_run(start.resume, where.output))
    else:
        work = planned_ab(suite, pythons.base, pythons.head, chosen.keywords)
    if work.sides.alike and work.folder is None:
        note = "the same is installed on both sides; what differs is chance, or the settings around them"
        echo(f"note: {note}", err=True)
    if start.dry_run:
        print_plans([work.plan], json=shown.json)
        return
    where.check()
    with progress(quiet=shown.quiet, verbose=shown.verbose) as listen:
        try:
            result = compared(work, where.keywords(listen))
        except RunInterrupted as stop:
            echo(f"interrupted; continue with: cnnbench ab --resume {stop.result.folder}", err=True)
            raise typer.Exit(stop.result.exit_code) from None
    write_verdicts(result.folder, result.gate, where.junit)
    if shown.json:
        print_json(_as_json(result, result.gate))
    else:
        _show(result)
        show_verdicts(result.gate)
    raise typer.Exit(result.exit_code)


def _as_json(result: ABResult, gate: GateResult) -> dict[str, object]:
    from cnnbench.harness.run.store import RunStore

    return {
        "folder": str(result.folder),
        "report": str(result.folder / "report.html"),
        "exit_code": result.exit_code,
        "sides": RunStore.open(result.folder).read_environment().get("sides", {}),
        "differences": [item.model_dump(mode="json") for item in result.differences],
        **gate.model_dump(mode="json"),
        "summary": result.run.summary.model_dump(mode="json"),
    }


def _show(result: ABResult) -> None:
    """What the sides differ in, and what went wrong; the verdicts come after."""
    from cnnbench.output.reports import read_report
    from cnnbench.output.verdict_tables import differences_table

    report = read_report(result.folder)
    differences = differences_table(result.differences)
    if differences:
        show_table(differences)
        echo("")
    show_results(report)
    echo("")
    for table in (report.problems, report.skips):
        if table:
            show_table(table)
            echo("")
    show_notes(report.notes, result.folder)
