"""Which networks that exporters write as ONNX are read, and whether they compute what the original does.

    python benchmarks/exporters run --output build/exporters          # resumable; minutes to hours
    python benchmarks/exporters page --output build/exporters         # the table, in Markdown

A run goes on from the rows that the same code and packages have made. The published table's rows stand beside it:
``run --begin reports/published/exporters.jsonl`` counts them too, whatever made them; the page says of how many that is
not the code that is here.

Every classification network of torchvision, the smallest network of every module of timm, and keras.applications are
given random weights in general position (no scale is 1, no shift 0) and exported: PyTorch's by both of its exporters
(TorchScript and dynamo), Keras' by ``Model.export``. Each file is written once with a free batch, which is then run
with 1, 2 and 8 images, and once with the batch fixed at 1, 2 and 8. It is read by cnnbench and computed by the NumPy
backend in float64. The truth is the original: PyTorch's module in float64, Keras' model in float32.

It needs torch, torchvision, timm, onnxscript, onnxruntime, tensorflow and tf2onnx; a source whose packages are missing
is left out by name. Processes handle many networks each, bounded in time for a file and in memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
from itertools import product
from pathlib import Path

from networks import SOURCES, listed
from rows import BATCHES, Row, rows_of
from table import page
from work import MARK, Limits, done, kept_rows, left_of


def run(options: argparse.Namespace) -> None:
    """Fills ``rows.jsonl`` with what is missing in it."""
    output: Path = options.output
    kept = kept_rows(output)
    if options.begin is not None and not kept.path.exists():
        kept.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.begin, kept.path)
    known = [row for _, row in kept.of_all()] if options.begin is not None else kept.read()
    rows = [row for row in (Row(**item) for item in known) if row.result not in options.again]
    for source in options.sources:
        tasks = left_of(output, source, rows, list(product(options.exporters, options.batches)))[: options.first]
        for row in done(source, tasks, Limits(options.limit, options.memory * 2**30)):
            kept.append(row._asdict())
            print(*row, sep="  ", flush=True)


def _many(options: argparse.Namespace) -> None:
    """A row is a marked line of the standard output, since exporters print."""
    for name, pairs in json.loads(options.tasks):
        for row in rows_of(options.source, name, [(exporter, batch) for exporter, batch in pairs]):
            print(f"\n{MARK}{json.dumps(row)}", flush=True)


def main() -> None:
    """Reads the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--output", type=Path, default=Path("build/exporters"))
    running.add_argument("--begin", type=Path, default=None, help="rows that count, whatever made them")
    running.add_argument("--sources", nargs="+", default=list(SOURCES))
    running.add_argument("--batches", nargs="+", default=list(BATCHES))
    running.add_argument("--exporters", nargs="+", default=["torchscript", "keras", "dynamo"])
    running.add_argument("--first", type=int, default=None, help="so many of each source's networks that are not done")
    running.add_argument("--limit", type=float, default=600.0, help="seconds for one file")
    running.add_argument("--memory", type=float, default=8.0, help="GiB for a process")
    running.add_argument("--again", nargs="*", default=[], help="results that are tried once more: refused unequal ...")
    running.set_defaults(do=run)
    paging = commands.add_parser("page")
    paging.add_argument("--output", type=Path, default=Path("build/exporters"))
    paging.set_defaults(do=lambda options: print(page(options.output), end=""))
    many = commands.add_parser("many")
    many.add_argument("source")
    many.add_argument("tasks")
    many.set_defaults(do=_many)
    naming = commands.add_parser("names")
    naming.add_argument("source")
    naming.set_defaults(do=lambda options: print(f"\n{MARK}{json.dumps(listed(options.source))}"))
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
