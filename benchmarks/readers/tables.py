"""The rows as a page in Markdown: counts, what is not equal with its reason, and every network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from judged import EQUAL, RESULTS, TRIED, Row
from subjects import SOURCES

HEAD = f"""# Live models: read, and equal?

Made by `python benchmarks/readers`. Each network is read as `cnnbench` reads a user's own model: PyTorch's modules by
`torch.export`, Keras' models by their configuration, JAX functions by their jaxpr. Weights are random and in general
position: no scale is 1, no shift 0, and running statistics are neither. The graph is computed by the float64 reference,
the model as it is by its framework, moved to float64 (Keras: its float64 policy); both on the same two images. *Equal*
is within {EQUAL:.0e} of the largest output. *Equal in float32* is within what the rounding of float32 explains, and
1e-6: some layers of frameworks compute in float32 whatever they are asked, such as `jax.nn.dot_product_attention`, and
in the deepest networks with random weights float64's own rounding grows, layer by layer: in Keras' EfficientNetV2L from
1e-15 at the first block to 3e-5 at the last, without a jump at any layer, and to other digits in each run. Networks of
Keras that prepare their images are given pixels from 0 to 255, all others normal numbers.
"""


def page(rows: Sequence[tuple[str, Row]], untried: dict[str, list[str]]) -> str:
    """The whole page.

    Args:
        rows: (the digest of what it was made from, the row), of each network the last.
        untried: By source the networks that have no row.
    """
    found = [row for _, row in rows]
    tried = [row for row in found if row.result in TRIED]
    equal = [row for row in tried if row.result == "equal"]
    worst = max((row.apart or 0.0 for row in equal), default=0.0)
    made = Counter(digest for digest, _ in rows)
    said = [
        f"**{len(equal)} of {len(tried)} networks are read and equal** (largest difference of those {worst:.1e}).",
        "Rows by the digest of the code and the packages that made them: "
        + ", ".join(f"{count} by `{digest[:12]}`" for digest, count in made.most_common())
        + ".",
    ]
    left = [f"{source}: {', '.join(names)}" for source, names in untried.items() if names]
    parts = [HEAD, *said, _counts(found), "## What is not equal", _others(found)]
    parts += ["## What was not tried", "\n\n".join(left) or "Nothing: every network has its row."]
    parts += ["## Every network", _every(equal)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _counts(rows: Sequence[Row]) -> str:
    lines = []
    for source in SOURCES:
        counts = Counter(row.result for row in rows if row.source == source)
        tried = sum(counts[result] for result in TRIED)
        worst = max((row.apart or 0.0 for row in rows if (row.source, row.result) == (source, "equal")), default=0.0)
        if counts:
            share = f"{counts['equal']} of {tried}"
            lines.append([source, *(str(counts[result] or "") for result in RESULTS), share, f"{worst:.1e}"])
    return _table(["source", *RESULTS, "read and equal", "largest difference"], lines)


def _others(rows: Sequence[Row]) -> str:
    order = sorted(rows, key=lambda row: (RESULTS.index(row.result), row.source, row.network))
    lines = [
        [f"{row.source} {row.network}", row.result, f"{row.apart:.1e}" if row.apart else "", _cell(row.reason)]
        for row in order
        if row.result != "equal"
    ]
    return _table(["network", "result", "apart", "reason"], lines) if lines else "Nothing."


def _every(rows: Sequence[Row]) -> str:
    lines = [
        [
            row.source,
            row.network,
            row.image,
            str(row.nodes),
            f"{row.parameters:,}",
            f"{row.apart:.1e}",
            _cell(row.reason),
        ]
        for row in sorted(rows, key=lambda row: SOURCES.index(row.source))
    ]
    return _table(["source", "network", "image", "nodes", "parameters", "apart", "note"], lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))
