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
$ cnnbench faults score torch --count 1000 -o rows.jsonl     # faults that nobody thought of
$ cnnbench faults score torch --fault residual/0/8           # one of these again
```

Faults are put into any backend without knowing its framework: around its ops, its compiled programs, its losses and its
update rules. The backend itself stays as it is.

"""
DRAWN = """## Drawn faults: the score

A registered fault is one that somebody thought of. A drawn one is a place, a moment and a change, at random:

* **Where**: the op of a kind of node; an array that is loaded; the folding of a batch norm; a program's inputs or
  outputs; a node that is wrong only where it is fused with what it reads from; the loss; the update rule; what is
  repeated from one run to the next.
* **When**: always; from a call or a step on; from the second load on; for some numbers of images, image sizes or
  values; in training alone.
* **What**: an element, a channel or an image; a constant; a term that is left out, negated or exchanged; fewer bits;
  an output that saturates or swallows NaN; another value of a field of the layer, the rule or the loss; running
  statistics; a gradient; the order of rows; a result that is kept. Errors are 1e-4 to 1, uniform in their logarithm.

`residual/0/8` is the id of one: the network, the seed, the number of the draw. The networks are one for each layer
kind, small ones of several kinds, LeNet-5 and ResNet-20.

A fault is **killed** where a check fails. It is **located** where the first check that names a node names the right
one (a loss or an update rule: its term; a program's input: that input or a node that reads it; a program's output: the
node that makes it). Intervals are Clopper and Pearson's at 95 %. A fault with which a program
does not run is not counted: it is not silent.

A fault is **equivalent** where no check could find it. One that passed all checks is put into the NumPy reference,
which computes in float64, at all moments. What the checks then see is its exact effect, without the rounding of
float32. It must stay within every budget: on the operands of the case, on those of two further seeds, on a batch on
which it shows, and on the hard operands of `--thorough`. The largest share of a budget is its bound. An epsilon of
1.000001e-5 for 1e-5 is one. A loss or a slot, which has no budget, may move by 64 roundings; a slot that rounding moves
by a tenth of itself, such as that of a bias before a batch norm, by as much as that. What a program keeps from
call to call is never equivalent.

*Before* is commit `f716cca`, with freshly initialised weights, each layer on ordinary operands alone, and without
`timed`. *Now* are weights in general position, hard operands, the program that is timed, whole networks on integers,
and trainings with late steps ([numerics](numerics.md#the-checks)).

"""
REGISTERED = """## Registered faults

Each has a small network in which it must exceed ten budgets (or break equality, a shape or a NaN) and be located at
its node; a fault of a loss or of an update rule at its term, one of shared weights at the node that owns them, one of
folding at the convolution. What goes wrong in a program's calls or loads has no node: its place is *the program*. The
table is written by `make faults`, from that run: float32, seed 0. A number is how many sharp budgets the faulty
backend uses (of a whole program, envelopes); the right one uses less than 1. *exact*: a value is moved or chosen, and
no error is admitted. *not comparable*: NaN, infinity, another shape, or bits that had to be equal. A composite that a
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
        text += f"Killed of those that can be seen, by {name}:\n\n" + _table_of((name, *heads), cells)
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
