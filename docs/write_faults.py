"""Writes ``docs/faults.md``: every registered fault, injected into every backend that is here (``make faults``)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from cnnbench.cli.fault_listing import KillTable, used, verdict
from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.faults import Fault, Kill, faults, kill_table

PAGE = Path(__file__).parent / "faults.md"
WAYS = (
    ("numpy", "reference"),
    ("numpy", "fast"),
    ("torch", "eager"),
    ("jax", "jit"),
    ("tensorflow", "graph"),
)
HEAD = """# The faults, and what catches them

Real defects of real projects, or plausible ones, that can be injected into any backend by name:

    cnnbench list faults
    cnnbench verify resnet20 -b torch --fault batch_norm.biased_running_variance
    cnnbench list faults --kill torch:eager

Each has a small network in which it must exceed ten budgets (or break equality, a shape or a NaN) and be located at its
node; a fault of a loss or of an update rule at its term, one of shared weights at the node that owns them. This page
is written by `make faults`, from that run: float32, seed 0. A number is how many sharp budgets the faulty backend uses;
the right one uses less than 1. *exact*: a value is moved or chosen, and no error is admitted. A composite that a
backend makes of its parts is examined as one node.

"""


def main() -> None:
    """Runs every table and writes the page."""
    tables = [table for backend, mode in WAYS if (table := _table(backend, mode)) is not None]
    PAGE.write_text(page(tables), encoding="utf-8")


def _table(backend: str, mode: str) -> KillTable | None:
    reason = backend_plugin(backend).unavailable()
    if reason is not None:
        sys.stderr.write(f"{backend}: {reason}\n")
        return None
    options = ProgramOptions(mode, precision("float32"))

    def tell(name: str) -> None:
        sys.stderr.write(f"{backend} {mode}: {name}\n")

    return KillTable(backend, mode, tuple(kill_table(load_backend(backend), options, on_progress=tell)))


def page(tables: Sequence[KillTable]) -> str:
    """The page of these tables."""
    lines = ["| backend | version | killed / injected | located / killed | false alarms / clean runs |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    for table in tables:
        c = table.counts
        name = f"{table.backend} {table.mode}"
        counts = (f"{c['killed']} / {c['injected']}", f"{c['located']} / {c['killed']}")
        alarms = f"{c['false_alarms']} / {c['clean_runs']}"
        release = version(backend_plugin(table.backend).distribution)
        lines.append(f"| {name} | {release} | {' | '.join(counts)} | {alarms} |")
    heads = [f"{table.backend} {table.mode}" for table in tables]
    lines += ["", f"| fault | kind | what goes wrong | check | {' | '.join(heads)} | located |"]
    lines.append(f"| --- | --- | --- | --- | {' | '.join('---:' for _ in heads)} | --- |")
    rows = [{row.fault: row for row in table.rows} for table in tables]
    lines += [_line(item, [by_name.get(name) for by_name in rows]) for name, item in faults().items()]
    skipped = _skipped(tables)
    return HEAD + "\n".join(lines) + "\n" + (f"\nNot injected:\n\n{skipped}\n" if skipped else "")


def _line(item: Fault, rows: Sequence[Kill | None]) -> str:
    cells = [_cell(row) for row in rows]
    wrong = [row for row in rows if row is not None and row.skipped is None and not row.located]
    located = "elsewhere" if wrong else f"`{item.node}`" if item.node else "the program"
    return f"| `{item.name}` | {item.kind} | {item.description} | {item.check} | {' | '.join(cells)} | {located} |"


def _cell(row: Kill | None) -> str:
    if row is None or row.skipped is not None:
        return "–"
    text = used(row.budget_used)
    return text if row.killed and row.located and not row.false_alarm else f"**{text}: {verdict(row)}**"


def _skipped(tables: Sequence[KillTable]) -> str:
    found: Mapping[str, None] = dict.fromkeys(
        f"* `{row.fault}` into {table.backend} {table.mode}: {row.skipped}"
        for table in tables
        for row in table.rows
        if row.skipped is not None
    )
    return "\n".join(found)


if __name__ == "__main__":
    main()
