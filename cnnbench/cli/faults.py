"""``cnnbench faults``: the registered faults, and the score of the checks on faults that are drawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.listing import faults as list_faults
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.numerics.faults.score import FaultScore
    from cnnbench.numerics.faults.score.summary import ClassScore

MISMATCH = 4
NOTHING_CHECKED = 5
application = typer.Typer(
    help="Defects that are injected on purpose: what finds them, and what does not.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
application.command("list")(list_faults)


@dataclass(frozen=True)
class DrawOptions:
    """What is drawn, and how much of it."""

    count: Annotated[int, typer.Option(min=0, help="Faults that are drawn.")] = 1000
    clean: Annotated[int, typer.Option(min=0, help="Runs of the backend as it is, for false alarms.")] = 0
    network: Annotated[
        list[str], typer.Option("--network", metavar="NAME", help="Only in this network (repeatable).")
    ] = field(default_factory=list)
    fault: Annotated[str | None, typer.Option("--fault", metavar="ID", help="Draw this one again, alone.")] = None
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin nothing after so long.")] = None
    precision: o.Precision = "float32"
    seed: o.Seed = 0


@application.command("score")
@grouped
def score(
    backend: Annotated[str, typer.Argument(metavar="BACKEND", help="numpy, torch ...", show_default=False)],
    mode: o.Mode = None,
    draws: DrawOptions = DrawOptions(),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Append rows here, and go on from them.")
    ] = None,
    *,
    shown: o.ShownQuietly,
) -> None:
    """Draw faults at random, inject each into a backend, and count what the checks kill and locate."""
    from cnnbench.face.fault_scoring import fault_score

    def tell(row: Any) -> None:
        if not (shown.quiet or shown.json):
            outcome = getattr(row, "outcome", None) or ("false alarm" if row.alarms else "clean")
            echo(f"{outcome}: {row.id} {getattr(row, 'text', '')}", err=True)

    found = fault_score(
        backend if mode is None else f"{backend}:{mode}",
        fault=draws.fault,
        count=draws.count,
        clean=draws.clean,
        seed=draws.seed,
        networks=draws.network,
        precision=draws.precision,
        minutes=draws.minutes,
        file=output,
        on_row=tell,
    )
    if shown.json:
        print_json(score_json(found))
    else:
        show_score(found)
    raise typer.Exit(_status(found))


def _status(found: FaultScore) -> int:
    if not found.faults and not found.clean:
        return NOTHING_CHECKED
    return MISMATCH if found.escapes or found.alarms else 0


def score_json(found: FaultScore) -> dict[str, Any]:
    """The score as plain data: counts with their intervals, by class, and every row."""
    return {
        "backend": found.backend,
        "mode": found.mode,
        "precision": found.precision,
        "made_from": None if found.made_from is None else asdict(found.made_from),
        "total": _class_json(found.total),
        **{name: [_class_json(item) for item in found.by(name)] for name in ("where", "when", "what")},
        "clean": {
            "runs": found.alarm_rate.total,
            "alarms": found.alarm_rate.hits,
            "interval": found.alarm_rate.interval,
        },
        "faults": [{key: _finite(value) for key, value in asdict(row).items()} for row in found.faults],
        "clean_runs": [asdict(row) for row in found.clean],
    }


def _class_json(item: ClassScore) -> dict[str, Any]:
    rates = {"killed_interval": item.killed_rate.interval, "located_interval": item.located_rate.interval}
    return {**item._asdict(), **rates}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def show_score(found: FaultScore) -> None:
    """Prints the score by class, the escapes with their ids, and the false alarms."""
    echo(f"\n{found.backend} {found.mode}, {found.precision}")
    for name in ("where", "when", "what"):
        print_table((name, "drawn", "killed", "located", "escaped", "equivalent"), [line(c) for c in found.by(name)])
        echo("")
    print_table(("", "drawn", "killed", "located", "escaped", "equivalent"), [line(found.total)])
    if found.escapes:
        echo("\nescaped:")
        print_table(("id", "fault", "its exact effect"), [(r.id, r.text, r.message[:80]) for r in found.escapes])
    if found.clean:
        echo(f"\nfalse alarms: {found.alarm_rate.hits} of {found.alarm_rate.total} clean runs, {found.alarm_rate}")
        for row in found.alarms:
            echo(f"  {row.id}: {'; '.join(row.alarms)}")


def line(item: ClassScore) -> tuple[object, ...]:
    """A class of faults as a row of a table."""
    return (item.name, item.drawn, str(item.killed_rate), str(item.located_rate), item.escaped, item.equivalent)
