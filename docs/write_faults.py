"""Writes ``docs/faults.md``: every registered fault, injected into every backend that is here (``make faults``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cnnbench.cli.fault_listing import KillTable, used, verdict
from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.faults import Fault, Kill, faults, kill_table
from cnnbench.numerics.faults.score import Rate

PAGE = Path(__file__).parent / "faults.md"
WAYS = (
    ("numpy", "reference"),
    ("numpy", "fast"),
    ("torch", "eager"),
    ("jax", "jit"),
    ("tensorflow", "graph"),
)
SCORES = Path(__file__).parent / "fault-scores.json"
HEAD = """# Faults, and what catches them

```console
$ cnnbench faults list                          # real defects of real projects, or plausible ones
$ cnnbench verify resnet20 -b torch --fault batch_norm.biased_running_variance
$ cnnbench list faults --kill torch:eager       # each of them, in a network in which it must be found
$ cnnbench faults score torch --count 1000 -o rows.jsonl     # random faults
$ cnnbench faults score torch --fault residual/0/8           # one of these again
```

Faults are injected around a backend's ops, compiled programs, losses and update rules, so they need no knowledge of
its framework.

"""
DRAWN = """## Drawn faults: the score

A drawn fault is a random place, moment and change:

* **Where**: the op of a kind; a loaded array; the folding of a batch norm; a program's inputs or outputs; a node that
  is wrong only when it is fused with its predecessor; the loss; the update rule; the repetition of a run.
* **When**: always; from a call or a step on; from the second load on; for some numbers of images, image sizes or
  values; in training alone.
* **What**: an element, a channel or an image; a constant; a term that is left out, negated or exchanged; fewer bits;
  an output that saturates or swallows NaN; another value of a field of the layer, the rule or the loss; running
  statistics; a gradient; the order of rows; a stale result. Relative errors are log-uniform from 1e-4 to 1.

`residual/0/8` names the network, the seed and the number of the draw. The networks are one for each layer kind, small
ones of several kinds, LeNet-5 and ResNet-20.

A fault is **killed** if a check fails. It is **located** if the first check that names a node names the right one
(for a loss or an update rule: its term; for a program's input: that input or a node that reads it; for an output: its
node). Intervals are Clopper and Pearson's at 95 %. A fault that stops a program is not silent, and not counted.

A fault is **equivalent** if it is too small for any check. To decide this, a fault that passed all checks is injected
into the NumPy reference in float64. Its exact effect must stay within every budget: on the operands of the case, on
those of two further seeds, on a batch on which it shows, and on the hard operands of `--thorough`. An epsilon of
1.000001e-5 for 1e-5 is an example. A loss or a slot, which has no budget, may change by 64 roundings; a slot that
rounding changes by a tenth, such as that of a bias before a batch norm, by as much. A stale result is never
equivalent.

*Before* is commit `f716cca`: initial weights, ordinary operands, no `timed`. *Now* are weights in general position,
hard operands, the timed program, whole networks on integers, and trainings with late steps
([numerics](numerics.md#the-checks)).

"""
REGISTERED = """## Registered faults

Each has a small network in which it must exceed ten budgets (or break equality, a shape or a NaN) and be located: at
its node, at the term of a loss or an update rule, at the owner of shared weights, at the convolution of a folding.
A fault of a program's calls is located at its input. `make faults` writes the table (float32, seed 0). A number is how
many sharp budgets (of a whole program, envelopes) the faulty backend uses; the correct one uses less than 1. *exact*:
no error is admitted. *not comparable*: NaN, infinity, another shape, or bits that had to be equal. A composite
is examined as one node.

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
    registered = REGISTERED + "\n".join(lines) + "\n" + (f"\nNot injected:\n\n{skipped}\n" if skipped else "")
    known = json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.exists() else []
    return HEAD + DRAWN + scores(known) + registered


def scores(measured: Sequence[Mapping[str, Any]]) -> str:
    """The scores of drawn faults: all of each measurement, then by class, and what escapes now."""
    head = ("measured", "backend", "drawn", "killed", "located", "escaped", "equivalent", "false alarms")
    rows = [
        (
            f"{item['date']}, {item['label']}",
            f"{item['backend']} {item['mode']}",
            *_counts(item["total"]),
            _alarms(item),
        )
        for item in measured
    ]
    text = _table_of(head, rows)
    for name in ("where", "when", "what"):
        heads = [f"{item['backend']} {item['mode']}, {item['label']}" for item in measured]
        classes = sorted({found["name"] for item in measured for found in item[name]})
        by_name = [{found["name"]: found for found in item[name]} for item in measured]
        cells = [(one, *(_killed(found.get(one)) for found in by_name)) for one in classes]
        text += f"Killed of those that are not equivalent, by {name}:\n\n" + _table_of((name, *heads), cells)
    escaped = [(f"{i['backend']} {i['mode']}", row) for i in measured if i["label"] == "now" for row in i["escaped"]]
    if escaped:
        lines = [(f"`{row['id']}`", backend, row["fault"]) for backend, row in escaped]
        text += "What escapes now:\n\n" + _table_of(("id", "backend", "fault"), lines)
    return text


def _counts(found: Mapping[str, Any]) -> tuple[str, ...]:
    killed = Rate(found["killed"], found["killed"] + found["escaped"])
    located = Rate(found["located"], found["killed"])
    return (f"{found['drawn']}", f"{killed}", f"{located}", f"{found['escaped']}", f"{found['equivalent']}")


def _alarms(item: Mapping[str, Any]) -> str:
    clean = item["clean"]
    return f"{clean['alarms']} of {clean['runs']}" if clean["runs"] else "–"


def _killed(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else f"{found['killed']} of {found['killed'] + found['escaped']}"


def _table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n\n"


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
