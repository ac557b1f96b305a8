"""One colour a backend, as its plugin states it; a backend's further modes in lighter tones."""

from __future__ import annotations

from collections.abc import Iterable

from cnnbench.harness.suite.cell import Cell

SPARE = ("#2a9d8f", "#8d6e63", "#546e7a", "#c2185b", "#7cb342", "#00838f")


def colours(cells: Iterable[Cell]) -> dict[str, str]:
    """``#rrggbb`` by series, in the cells' order."""
    known = _stated()
    spare = iter(SPARE * 8)
    modes: dict[str, dict[str, None]] = {}
    for cell in cells:
        modes.setdefault(cell.backend, {})[cell.series] = None
    found = {}
    for backend, series in modes.items():
        base = known.get(backend) or next(spare)
        for number, name in enumerate(series):
            found[name] = lighter(base, 0.45 * number / max(len(series) - 1, 1))
    return found


def _stated() -> dict[str, str]:
    from cnnbench.execution.backends import backend_plugins

    return {name: plugin.colour for name, plugin in backend_plugins().items()}


def lighter(colour: str, share: float) -> str:
    """The colour mixed with that share of white."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)
