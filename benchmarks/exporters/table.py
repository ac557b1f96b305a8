"""The rows as a page in Markdown: counts, what is not equal with its reason, and what was not tried."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from rows import BATCHES, EXPORTERS, RESULTS, TRIED, Row
from work import kept_rows, left_of, names_of

HEAD = """# Files that exporters write: read, and equal?

Made by `python benchmarks/exporters`. Every network has random weights in general position. Each of its files is read
by cnnbench, computed by the NumPy backend in float64, and compared with the original: PyTorch's module in float64, or
Keras' model in float32. *Equal* is within 1e-5 of the largest output (Keras: 2e-4). A file with a free batch is
computed with 1, 2 and 8 images, another one with as many as it says.
"""


def page(output: Path) -> str:
    """The whole page."""
    sources = {Row(**row)[:4]: (made_from, Row(**row)) for made_from, row in kept_rows(output).of_all()}
    rows = [row for _, row in sources.values()]
    tried = [row for row in rows if row.result in TRIED]
    equal = sum(row.result == "equal" for row in tried)
    networks = {(row.source, row.network) for row in tried}
    said = (
        f"**{equal} of {len(tried)} files that could be written are read and equal "
        f"({100 * equal / max(len(tried), 1):.1f} %)**; they are of {len(networks)} networks."
    )
    unclear = sum(row.result == "equal" and not row.reason for row in tried)
    if unclear:
        said += f"\n\nOf {unclear} of them it is known that they are equal, and not how close."
    made = Counter(made_from for made_from, _ in sources.values())
    counts = ", ".join(f"{count} by `{digest[:12]}`" for digest, count in made.most_common())
    said += f"\n\nRows by the digest of the code and the packages that made them: {counts}."
    parts = [HEAD, said, _counts(rows), "## What is not equal", _others(rows), "## What was not tried"]
    return "\n\n".join(part.strip() for part in (*parts, _untried(output, rows))) + "\n"


def _counts(rows: Sequence[Row]) -> str:
    lines = []
    for source, exporters in EXPORTERS.items():
        for exporter, batch in product(exporters, BATCHES):
            counts = Counter(row.result for row in rows if row[:1] + row[2:4] == (source, exporter, batch))
            tried = sum(counts[result] for result in TRIED)
            if counts:
                share = f"{100 * counts['equal'] / tried:.1f} %" if tried else "-"
                lines.append([source, exporter, batch, *(str(counts[result] or "") for result in RESULTS), share])
    return _table(["source", "exporter", "batch in the file", *RESULTS, "read and equal"], lines)


def _others(rows: Sequence[Row]) -> str:
    """Each network once for a result and a reason."""
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (RESULTS.index(row.result), row.source, row.network)):
        if row.result != "equal":
            key = (f"{row.source} {row.network}", row.exporter, row.result, row.reason.replace("|", "\\|")[:200])
            found[key].append(row.batch)
    lines = [
        [network, exporter, ", ".join(batches), result, reason]
        for (network, exporter, result, reason), batches in found.items()
    ]
    return _table(["network", "exporter", "batch", "result", "reason"], lines)


def _untried(output: Path, rows: Sequence[Row]) -> str:
    """The files without a row, networks of which the same ones are missing in one line."""
    lines = []
    for source, exporters in EXPORTERS.items():
        missing: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
        if not names_of(output, source):
            lines.append([source, "not known", "-", "its packages are missing where this page was made"])
        for name, pairs in left_of(output, source, rows, list(product(exporters, BATCHES))):
            missing[tuple(pairs)].append(name)
        for left, networks in missing.items():
            what = "; ".join(
                f"{exporter} {', '.join(batch for name, batch in left if name == exporter)}"
                for exporter in dict.fromkeys(name for name, _ in left)
            )
            lines.append([source, what, str(len(left) * len(networks)), ", ".join(networks)])
    if not lines:
        return "Nothing: every file has its row above."
    return _table(["source", "exporter and batch", "files", "networks"], lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))
