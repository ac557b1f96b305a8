"""Draws a network as SVG: folded boxes from top to bottom, with their layers, output shapes and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from cnnbench.output.folding import Box, described, fold
from cnnbench.spec.graph import Graph
from cnnbench.spec.summary import summarize

CHARACTER, LINE, MARGIN, GAP_X, GAP_Y = 6.6, 15.0, 10.0, 24.0, 26.0
LONGEST = 52  # characters of a line; what is longer is cut
MOST_WINDOWS = 4  # lines of a box that say what slides in it
LANE = 7.0  # between edges that skip rows, which run beside the boxes
_COLOURS = {"input": "#e8e8e8", "conv": "#dbe9f6", "pool": "#e5f2dd", "linear": "#f8e3d0", "other": "#f4f1fa"}


@dataclass(frozen=True)
class Placed:
    """A box with its text and its place. Args: row: from the top. bottom: of the tallest box of its row."""

    box: Box
    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float
    row: int
    bottom: float


def draw(graph: Graph) -> str:
    """The SVG of a network; every name in it is escaped."""
    summary = summarize(graph)
    boxes = fold(graph, summary)
    placed = _place(boxes)
    right = max(item.x + item.width for item in placed.values())
    edges, lanes = _edges(placed, right + GAP_X)
    width = right + MARGIN + (GAP_X + lanes * LANE if lanes else 0)
    height = max(item.y + item.height for item in placed.values()) + MARGIN + LINE
    title = f"{graph.name}: {summary.parameters:,} parameters, {summary.macs:,} MACs"
    width = max(width, len(title) * CHARACTER + 2 * MARGIN)
    body = [*map(_rectangle, placed.values()), *edges]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11">\n'
        f"<title>{escape(title)}</title>\n{_ARROW}\n"
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="{MARGIN}" y="{LINE}" font-weight="bold">{escape(title)}</text>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _text(box: Box) -> tuple[str, ...]:
    shape = " x ".join(map(str, box.output_shape))
    facts = f"{shape}, {box.parameters:,} parameters" if box.parameters else shape
    name = f"{box.name} (x {box.count})" if box.count > 1 else box.name
    kinds = described(box.kinds)
    windows = box.windows[:MOST_WINDOWS]
    if len(box.kinds) == 1 and windows:  # a single layer is said by its window
        kinds, windows = windows[0], windows[1:]
    if len(box.windows) > MOST_WINDOWS:
        windows = (*windows[:-1], f"and {len(box.windows) - MOST_WINDOWS + 1} other windows")
    lines = (name, *windows, facts) if kinds == box.name else (name, kinds, *windows, facts)
    return tuple(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…" for line in lines)


def _place(boxes: Sequence[Box]) -> dict[str, Placed]:
    """Rows by the longest path from the inputs; within a row under the mean of what each box reads."""
    ranks: dict[str, int] = {}
    rows: dict[int, list[Box]] = {}
    for box in boxes:
        ranks[box.name] = max((ranks[name] + 1 for name in box.inputs), default=0)
        rows.setdefault(ranks[box.name], []).append(box)
    centres: dict[str, float] = {}
    sized: list[Placed] = []
    y = MARGIN + 2 * LINE
    for rank in sorted(rows):
        lines = {box.name: _text(box) for box in rows[rank]}
        widths = {name: max(map(len, text)) * CHARACTER + 2 * MARGIN for name, text in lines.items()}
        tallest = max(len(text) for text in lines.values()) * LINE + MARGIN
        wanted = {box.name: _mean([centres[name] for name in box.inputs]) for box in rows[rank]}
        x = -float("inf")
        shift = []
        for box in sorted(rows[rank], key=lambda item: wanted[item.name]):
            left = max(wanted[box.name] - widths[box.name] / 2, x + GAP_X)
            shift.append(left + widths[box.name] / 2 - wanted[box.name])
            high = len(lines[box.name]) * LINE + MARGIN
            sized.append(Placed(box, lines[box.name], left, y, widths[box.name], high, rank, y + tallest))
            x = left + widths[box.name]
        back = sum(shift) / len(shift)
        for place in range(len(sized) - len(rows[rank]), len(sized)):
            item = replace(sized[place], x=sized[place].x - back)
            sized[place], centres[item.box.name] = item, item.x + item.width / 2
        y += tallest + GAP_Y
    start = min(item.x for item in sized) - MARGIN
    return {item.box.name: replace(item, x=item.x - start) for item in sized}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _colour(box: Box) -> str:
    kinds: Mapping[str, int] = dict(box.kinds)
    for word, colour in _COLOURS.items():
        if any(word in kind for kind in kinds):
            return colour
    return _COLOURS["other"]


def _rectangle(item: Placed) -> str:
    parts = [
        f'<rect x="{item.x:.1f}" y="{item.y:.1f}" width="{item.width:.1f}" height="{item.height:.1f}" rx="4" '
        f'fill="{_colour(item.box)}" stroke="#667"/>'
    ]
    for number, line in enumerate(item.lines):
        weight = ' font-weight="bold"' if number == 0 else ""
        x, y = item.x + item.width / 2, item.y + (number + 1) * LINE
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle"{weight}>{escape(line)}</text>')
    return "\n".join(parts)


_ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>'
)


def _edges(placed: Mapping[str, Placed], beside: float) -> tuple[list[str], int]:
    """The edges with arrowheads, and in how many lanes those run that skip rows.

    An edge to the next row is a line. One that skips rows leaves through the gap below its row, runs down beside all
    boxes from ``beside`` on, and enters through the gap above its target, so that no box hides it.
    """
    drawn: list[str] = []
    ends: list[int] = []  # by lane, the row down to which it is taken
    for target in placed.values():
        for source in (placed[name] for name in target.box.inputs):
            x1, x2 = source.x + source.width / 2, target.x + target.width / 2
            path = f"M{x1:.1f},{source.y + source.height:.1f} L{x1:.1f},{source.bottom:.1f} "
            if target.row > source.row + 1:
                lane = next((i for i, end in enumerate(ends) if end <= source.row), len(ends))
                ends[lane : lane + 1] = [target.row]
                side, below, above = beside + lane * LANE, source.bottom + GAP_Y / 3, target.y - 2 * GAP_Y / 3
                path += f"L{x1:.1f},{below:.1f} L{side:.1f},{below:.1f} L{side:.1f},{above:.1f} L{x2:.1f},{above:.1f} "
            drawn.append(
                f'<path d="{path}L{x2:.1f},{target.y:.1f}" fill="none" stroke="#667" stroke-width="1.2" '
                'stroke-linejoin="round" marker-end="url(#arrow)"/>'
            )
    return drawn, len(ends)
