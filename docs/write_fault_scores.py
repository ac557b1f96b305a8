"""Measures what ``docs/faults.md`` says of drawn faults, into ``docs/fault-scores.json`` (``make fault-scores``).

Rows are kept in ``build/faults``, so that a measurement that was stopped goes on. Scores under another label than
``now``, such as that of earlier checks, stay.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cnnbench
from cnnbench.cli.faults import score_json
from cnnbench.execution.backends import backend_plugin
from cnnbench.numerics.faults.score import FaultScore

FILE = Path(__file__).parent / "fault-scores.json"
ROWS = Path(__file__).parents[1] / "build" / "faults"
NOW = "now"
# Backend, mode, drawn faults, clean runs: as many as take a quarter of an hour on two cores.
WAYS = (
    ("numpy", "fast", 1000, 600),
    ("torch", "eager", 1000, 600),
    ("jax", "jit", 300, 100),
    ("tensorflow", "graph", 200, 100),
)


def main() -> None:
    """Measures each backend that is here, and writes the file after each."""
    wanted = set(sys.argv[1:])
    for backend, mode, count, clean in WAYS:
        if backend_plugin(backend).unavailable() is not None or (wanted and backend not in wanted):
            continue
        found = cnnbench.fault_score(
            f"{backend}:{mode}",
            count=count,
            clean=clean,
            file=ROWS / f"{backend}-{mode}.jsonl",
            on_row=lambda row: sys.stderr.write(f"{row.id}\n"),
        )
        keep(found, NOW)


def keep(found: FaultScore, label: str) -> None:
    """Puts a score into the file, in place of an earlier one of the same backend, mode and label."""
    known: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    data = score_json(found)
    ours = {"label": label, "date": datetime.now(UTC).date().isoformat()}
    ours |= {
        key: data[key]
        for key in ("backend", "mode", "precision", "made_from", "total", "where", "when", "what", "clean")
    }
    ours["escaped"] = [{"id": row.id, "fault": row.text} for row in found.escapes]
    same = ("label", "backend", "mode")
    others = [item for item in known if any(item[key] != ours[key] for key in same)]
    FILE.write_text(json.dumps([*others, ours], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
