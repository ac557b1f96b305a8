"""Verdicts on the terminal, as ``gate``, ``compare`` and ``ab`` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbench.cli.terminal import echo, show_table

if TYPE_CHECKING:
    from cnnbench.gates.verdicts import GateResult


def show_verdicts(result: GateResult) -> None:
    """Cells, backends together, notes, and the gate in one sentence."""
    from cnnbench.output.verdict_tables import headline, series_table, verdict_table

    for table in (verdict_table(result), series_table(result)):
        if table:
            show_table(table)
            echo("")
    for note in result.notes:
        echo(f"note: {note}")
    echo(headline(result))
