"""``cnnbench list faults --kill``: every fault injected into a backend, and whether it was caught and located."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.numerics.faults import Kill

MISMATCH = 4
NOTHING_CHECKED = 5
NO_ERROR_ADMITTED = 1e30  # budgets: the value was to be moved or chosen, not computed


@dataclass(frozen=True)
class Asked:
    """What to inject, and into what."""

    backends: tuple[str, ...]
    faults: tuple[str, ...]
    precision: str
    seed: int


@dataclass(frozen=True)
class KillTable:
    """The kill table of one backend, or the reason why there is none."""

    backend: str
    mode: str
    rows: tuple[Kill, ...]
    skipped: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Injected, killed, located, false alarms, clean runs, skipped."""
        run = [row for row in self.rows if row.skipped is None]
        return {
            "injected": len(run),
            "killed": sum(row.killed for row in run),
            "located": sum(row.killed and row.located for row in run),
            "clean_runs": len(run),
            "false_alarms": sum(row.false_alarm for row in run),
            "skipped": len(self.rows) - len(run),
        }


def show_kills(asked: Asked, *, json: bool, quiet: bool) -> int:
    """Prints the tables; 4 where a fault survived, was misplaced, or a clean run raised an alarm."""
    tables = [_table(text, asked, quiet=quiet or json) for text in asked.backends]
    if json:
        print_json([_json(table) for table in tables])
    else:
        for table in tables:
            _show(table)
    if all(not table.counts["injected"] for table in tables):
        return NOTHING_CHECKED
    return MISMATCH if any(map(_wrong, tables)) else 0


def _wrong(table: KillTable) -> bool:
    counts = table.counts
    return counts["located"] < counts["injected"] or counts["false_alarms"] > 0


def _table(text: str, asked: Asked, *, quiet: bool) -> KillTable:
    from cnnbench.execution.contract import ProcessSettings, ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.face.backends import chosen_backend
    from cnnbench.numerics.faults import kill_table

    chosen = chosen_backend(text, asked.precision, "--kill")
    if chosen.reason is not None:
        return KillTable(chosen.plugin.name, chosen.mode, (), chosen.reason)

    def tell(name: str) -> None:
        if not quiet:
            echo(f"{chosen.series}: {name}", err=True)

    options = ProgramOptions(chosen.mode, precision(asked.precision))
    rows = kill_table(chosen.load(ProcessSettings()), options, asked.faults, asked.seed, tell)
    return KillTable(chosen.plugin.name, chosen.mode, tuple(rows))


def _json(table: KillTable) -> dict[str, Any]:
    rows = [{key: _finite(value) for key, value in asdict(row).items()} for row in table.rows]
    head = {"backend": table.backend, "mode": table.mode, "skipped": table.skipped}
    return {**head, "counts": table.counts, "faults": rows}


def _finite(value: Any) -> Any:
    """JSON has no infinity: a value that could not be compared is null."""
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _show(table: KillTable) -> None:
    echo(f"\n{table.backend} {table.mode}")
    if table.skipped is not None:
        echo(f"  skipped: {table.skipped}")
        return
    lines: Sequence[Sequence[object]] = [
        (row.fault, row.check, used(row.budget_used), used(row.clean_budget_used), verdict(row)) for row in table.rows
    ]
    print_table(("fault", "check", "budgets", "without it", "outcome"), lines)
    counts = table.counts
    echo(
        f"killed {counts['killed']} of {counts['injected']} injected; located {counts['located']} of "
        f"{counts['killed']} killed; false alarms {counts['false_alarms']} of {counts['clean_runs']} clean runs"
        + (f"; {counts['skipped']} not injected" if counts["skipped"] else "")
    )


def used(value: float | None) -> str:
    """Budgets used, with the digits that matter."""
    if value is None:
        return "equality"
    if not abs(value) < float("inf"):
        return "not comparable"
    if value >= NO_ERROR_ADMITTED:
        return "exact"
    if value >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def verdict(row: Kill) -> str:
    """What became of a fault, in a word or two."""
    if row.skipped is not None:
        return f"not injected: {row.skipped}"
    if row.false_alarm:
        return "false alarm without the fault"
    if not row.killed:
        return "survived"
    return "killed and located" if row.located else "killed, at another node"
