"""Draws a network as SVG: folded boxes from top to bottom, with their layers, output shapes and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from cnnbench.output.folding import Box, described, fold
from cnnbench.spec.graph import Graph
from cnnbench.spec.summary import summarize

CHARACTER, LINE, MARGIN, GAP_X, GAP_Y = 6.6, 15.0, 10.0, 24.0, 26.0
LONGEST = 44  # characters of a line; what is longer is cut
_COLOURS = {"input": "#e8e8e8", "conv": "#dbe9f6", "pool": "#e5f2dd", "linear": "#f8e3d0", "other": "#f4f1fa"}


@dataclass(frozen=True)
class Placed:
    """A box with its text and its place."""

    box: Box
    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


def draw(graph: Graph) -> str:
    """The SVG of a network; every name in it is escaped."""
    summary = summarize(graph)
    boxes = fold(graph, summary)
    placed = _place(boxes)
    width = max(item.x + item.width for item in placed.values()) + MARGIN
    height = max(item.y + item.height for item in placed.values()) + MARGIN + LINE
    title = f"{graph.name}: {summary.parameters:,} parameters, {summary.macs:,} MACs"
    width = max(width, len(title) * CHARACTER + 2 * MARGIN)
    body = [_edge(placed[name], item) for item in placed.values() for name in item.box.inputs]
    body += [_rectangle(item) for item in placed.values()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="{MARGIN}" y="{LINE}" font-weight="bold">{escape(title)}</text>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _text(box: Box) -> tuple[str, ...]:
    shape = " x ".join(map(str, box.output_shape))
    facts = f"{shape}, {box.parameters:,} parameters" if box.parameters else shape
    name = f"{box.name} (x {box.count})" if box.count > 1 else box.name
    kinds = described(box.kinds)
    lines = (name, facts) if kinds == box.name else (name, kinds, facts)
    return tuple(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…" for line in lines)


def _place(boxes: Sequence[Box]) -> dict[str, Placed]:
    """Rows by the longest path from the inputs; within a row under the mean of what each box reads."""
    ranks: dict[str, int] = {}
    rows: dict[int, list[Box]] = {}
    for box in boxes:
        ranks[box.name] = max((ranks[name] + 1 for name in box.inputs), default=0)
        rows.setdefault(ranks[box.name], []).append(box)
    centres: dict[str, float] = {}
    sized: list[tuple[Box, tuple[str, ...], float, float, float, float]] = []
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
            sized.append((box, lines[box.name], left, y, widths[box.name], len(lines[box.name]) * LINE + MARGIN))
            x = left + widths[box.name]
        back = sum(shift) / len(shift)
        for place in range(len(sized) - len(rows[rank]), len(sized)):
            box, text, left, top, width, height = sized[place]
            sized[place] = (box, text, left - back, top, width, height)
            centres[box.name] = left - back + width / 2
        y += tallest + GAP_Y
    start = min(item[2] for item in sized) - MARGIN
    return {item[0].name: Placed(item[0], item[1], item[2] - start, *item[3:]) for item in sized}


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


def _edge(source: Placed, target: Placed) -> str:
    """A line from the bottom of one box to the top of another; one that skips rows swings out to the side."""
    x1, y1 = source.x + source.width / 2, source.y + source.height
    x2, y2 = target.x + target.width / 2, target.y
    if y2 - y1 <= 2 * GAP_Y + 3 * LINE:
        path = f"M{x1:.1f},{y1:.1f} L{x2:.1f},{y2:.1f}"
    else:
        side = max(source.x + source.width, target.x + target.width) + GAP_X
        path = f"M{x1:.1f},{y1:.1f} C{side:.1f},{y1 + GAP_Y:.1f} {side:.1f},{y2 - GAP_Y:.1f} {x2:.1f},{y2:.1f}"
    return f'<path d="{path}" fill="none" stroke="#99a" stroke-width="1.2"/>'
