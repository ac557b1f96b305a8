"""Which live models of PyTorch, Keras and JAX are read, and whether their graphs compute what they do.

    python benchmarks/readers run --output build/readers.jsonl       # resumable; minutes to hours
    python benchmarks/readers page --output build/readers.jsonl      # the table, in Markdown

A run goes on from the rows that the same code and packages have made; with ``--keep`` from all that are there,
whatever made them. ``--again refused unequal`` tries those once more. The published rows are
``reports/published/readers.jsonl``.

Torchvision's classification networks, about a hundred families of timm, keras.applications and small networks in the
idiom of Flax's and Equinox's documentation. A source whose packages are missing is left out by name. Processes handle
several networks each, bounded in time for a network and in memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "exporters"))

from judged import Row, row_of
from subjects import NEEDED, SOURCES, missing, names
from tables import page
from work import MARK, Limits, Watch  # of benchmarks/exporters

from cnnbench.measurement.kept_rows import KeptRows

MANY = 8  # networks of a process, which takes seconds to import a framework


def kept_rows(path: Path) -> KeptRows:
    """The rows of a file, which belong to this code and the packages that are here."""
    packages = sorted({package for needed in NEEDED.values() for package in needed})
    programs = sorted(Path(__file__).parent.glob("*.py"))
    return KeptRows.of(path, *programs, Path(__file__).parents[1] / "exporters/networks.py", packages=packages)


def run(options: argparse.Namespace) -> None:
    """Fills the file with what is missing in it, a few networks of each source in turn."""
    kept = kept_rows(options.output)
    found = [row for _, row in kept.of_all()] if options.keep else kept.read()
    known = {(row["source"], row["network"]): row["result"] for row in found}
    left = {}
    for source in options.sources:
        chosen = [name for name in _names(source) if not options.only or name in options.only]
        wanted = [name for name in chosen if known.get((source, name)) in (None, *options.again)]
        left[source] = wanted[: options.first]
    while any(left.values()):
        for source, wanted in left.items():
            some, left[source] = wanted[:MANY], wanted[MANY:]
            for row in rows_of(source, some, Limits(options.limit, options.memory * 2**30)):
                kept.append(row._asdict())
                print(*row, sep="  ", flush=True)


def _names(source: str) -> list[str]:
    if lacking := missing(source):
        print(f"{source} is left out: it needs {', '.join(lacking)}", file=sys.stderr)
        return []
    done = subprocess.run([sys.executable, _here(), "names", source], capture_output=True, encoding="utf-8")
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        print(f"{source} is left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return []
    return list(json.loads(lines[0][len(MARK) :]))


def rows_of(source: str, wanted: Sequence[str], limits: Limits) -> Iterator[Row]:
    """The rows of some networks, from a process that is replaced where it crashes, hangs or grows too large."""
    left = list(wanted)
    while left:
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, _here(), "many", source, *left],
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
            )
            watch = Watch(process, limits)
            begun = len(left)
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(MARK):
                    watch.begun_s = time.monotonic()
                    left.pop(0)
                    yield Row(*json.loads(line[len(MARK) :]))
            process.wait()
            if left and not (watch.killed == limits.too_much and len(left) < begun):
                errors.seek(0)
                said = errors.read().strip().splitlines() or [f"the process ended with {process.returncode}"]
                result, reason = watch.killed or ("traceback", said[-1][:400])
                yield Row(source, left.pop(0), "", 0, 0, result, None, reason, 0.0)


def _page(options: argparse.Namespace) -> None:
    rows = {(row["source"], row["network"]): (digest, Row(**row)) for digest, row in kept_rows(options.output).of_all()}
    untried = {source: [name for name in _names(source) if (source, name) not in rows] for source in SOURCES}
    print(page(list(rows.values()), untried), end="")


def _many(options: argparse.Namespace) -> None:
    """A row is a marked line of the standard output, since frameworks print."""
    for name in options.names:
        print(f"\n{MARK}{json.dumps(row_of(options.source, name))}", flush=True)


def _here() -> str:
    return str(Path(__file__).parent)


def main() -> None:
    """Reads the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--output", type=Path, default=Path("build/readers.jsonl"))
    running.add_argument("--sources", nargs="+", default=list(SOURCES))
    running.add_argument("--only", nargs="+", default=[], help="these networks alone")
    running.add_argument("--keep", action="store_true", help="rows count, whatever made them")
    running.add_argument("--again", nargs="*", default=[], help="results that are tried once more: refused unequal ...")
    running.add_argument("--first", type=int, default=None, help="so many of each source's networks that are not done")
    running.add_argument("--limit", type=float, default=600.0, help="seconds for one network")
    running.add_argument("--memory", type=float, default=6.0, help="GiB for a process")
    running.set_defaults(do=run)
    paging = commands.add_parser("page")
    paging.add_argument("--output", type=Path, default=Path("build/readers.jsonl"))
    paging.set_defaults(do=_page)
    many = commands.add_parser("many")
    many.add_argument("source")
    many.add_argument("names", nargs="+")
    many.set_defaults(do=_many)
    naming = commands.add_parser("names")
    naming.add_argument("source")
    naming.set_defaults(do=lambda options: print(f"\n{MARK}{json.dumps(names(options.source))}"))
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
