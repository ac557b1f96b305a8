"""The charts of a run: latency, error budgets by node, training curves, speed against error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.harness.passes.findings import Training
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Key
from cnnbench.numerics.outcome import NodeUse
from cnnbench.output import figures
from cnnbench.output.drawing import INK, MARKERS, panels, percent_ticks, plain_ticks, power_ticks, reach, short, svg
from cnnbench.output.labels import label, network_label, network_labels, network_name
from cnnbench.output.memory_curve import memory_by_batch, memory_curves
from cnnbench.output.tables import FORWARD, budget_used, checks_by_program
from cnnbench.output.throughput_curve import throughput_by_batch, throughput_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Colours = Mapping[str, str]
MOST_PANELS = 24
LEAST_SHARE = 1e-5  # of a budget, below which a node counts as exact


def latency_bars(records: Sequence[Record], colours: Colours) -> Figure:
    """A panel for each comparison group: the median latency of each backend with its interval."""
    groups, left_out = _first(_by(records, lambda record: record.cell.comparison_group if record.latency else None))
    columns = min(2, len(groups)) or 1
    rows = -(-len(groups) // columns)
    longest = max(len(members) for members in groups.values())
    figure, axes = panels(rows, columns, 11.2, rows * (0.75 + 0.34 * longest))
    flat = [axis for row in axes for axis in row]
    for axis, members in zip(flat, groups.values(), strict=False):
        _bars(axis, members, colours)
    for axis in flat[len(groups) :]:
        axis.set_axis_off()
    if left_out:
        figure.supxlabel(f"{left_out} more groups are in the table of results", fontsize=9)
    return figure


def _first(groups: dict[Key, list[Record]]) -> tuple[dict[Key, list[Record]], int]:
    """The first ``MOST_PANELS`` groups, and how many are left out; drawing takes more than in proportion to them."""
    kept = dict(list(groups.items())[:MOST_PANELS])
    return kept, len(groups) - len(kept)


def _bars(axis: Axes, records: list[Record], colours: Colours) -> None:
    medians = [record.latency.median_s for record in records if record.latency]
    scale, unit = (1.0, "s") if max(median.value for median in medians) >= 1 else (1e-3, "ms")
    places = range(len(records))
    values = [median.value / scale for median in medians]
    ends = reach(((median.value, median.low, median.high) for median in medians), scale)
    fills = [colours[record.cell.series] for record in records]
    axis.barh(places, values, height=0.62, color=fills)
    axis.errorbar(values, places, xerr=ends, fmt="none", ecolor=INK, elinewidth=1.1, capsize=3)
    right = max(median.high for median in medians) / scale
    for place, median in zip(places, medians, strict=True):
        text = figures.significant(median.value / scale)
        axis.text(median.high / scale + 0.015 * right, place, text, va="center", fontsize=8)
    axis.set_yticks(list(places), [short(label(record.cell)) for record in records])
    axis.invert_yaxis()
    axis.set_xlim(0, right * 1.13)
    axis.set_xlabel(f"median latency of a batch [{unit}], 95 % interval")
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    cell = records[0].cell
    axis.set_title(f"{short(network_name(cell))}, batch {cell.batch}" + _rest(cell.precision, cell.threads))


def _rest(precision: str, threads: int | None) -> str:
    return ("" if precision == "float32" else f", {precision}") + ("" if threads is None else f", {threads} threads")


def budget_by_node(records: Sequence[Record], budgets: Mapping[str, Sequence[NodeUse]], colours: Colours) -> Figure:
    """A panel for each network: the largest share of its budget that each node used, in the graph's order.

    A node that used nothing, as an exact one does, has no point.

    Args:
        records: Of the cells.
        budgets: What each node used, by the cell's id.
        colours: ``#rrggbb`` by series.
    """
    known = [record for record in records if budgets.get(record.cell.id)]
    networks = _by(known, lambda record: record.cell.network_key)
    names = network_labels(record.cell for record in known)
    figure, axes = panels(len(networks), 1, 11.2, 2.6 * len(networks))
    for (axis,), (key, members) in zip(axes, networks.items(), strict=True):
        programs = _by(members, lambda record: record.cell.program_key)
        for number, same in enumerate(programs.values()):
            used = _by_node([budget for record in same for budget in budgets[record.cell.id]])
            marker, colour = MARKERS[number % len(MARKERS)], colours[same[0].cell.series]
            places = [i for i, value in enumerate(used.values()) if value >= LEAST_SHARE]
            shares = [value for value in used.values() if value >= LEAST_SHARE]
            axis.plot(places, shares, marker=marker, markersize=3, linewidth=0.7,
                      color=colour, label=short(label(same[0].cell)))  # fmt: skip
        nodes = list(_by_node(budgets[members[0].cell.id]))
        step = max(1, -(-len(nodes) // 28))
        axis.set_xticks(
            range(0, len(nodes), step), [short(node) for node in nodes[::step]], rotation=60, ha="right", fontsize=6.5
        )
        axis.axhline(1.0, color="#c0392b", linewidth=1, linestyle="--")
        axis.set_yscale("log")
        percent_ticks(axis)
        axis.set_ylabel("sharp budget used")
        axis.grid(axis="y")
        axis.set_title(short(names[key]))
        axis.legend(ncols=4, fontsize=8, loc="lower left", bbox_to_anchor=(0.2, 1.0))
    return figure


def _by_node(budgets: Sequence[NodeUse]) -> dict[str, float]:
    """The largest use of each node over all that was checked of it."""
    found: dict[str, float] = {}
    for item in budgets:
        found[item.node] = max(found.get(item.node, 0.0), item.sharp_used)
    return found


def training_curves(records: Sequence[Record], colours: Colours) -> Figure:
    """For each network that trained: the loss of each step, its distance from the first backend's, test accuracy."""
    networks = _by(records, lambda record: record.cell.training_group if record.training else None)
    figure, axes = panels(len(networks), 3, 11.2, 2.9 * len(networks))
    for (loss, distance, accuracy), members in zip(axes, networks.values(), strict=True):
        for number, record in enumerate(members):
            training = record.training
            assert training is not None
            dashes = ("-", (0, (6, 2)), (0, (3, 2)), (0, (1, 1.5)))[number % 4]
            style: dict[str, Any] = {"color": colours[record.cell.series], "label": short(label(record.cell))}
            style |= {"linewidth": 1.5, "linestyle": dashes}
            loss.plot(range(1, len(training.losses) + 1), training.losses, **style)
            if number:
                distance.plot(*_distances(members[0], record), **(style | {"linestyle": "-", "linewidth": 1.0}))
            epochs = [epoch.epoch + (training.epochs[0].epoch == 0) for epoch in training.epochs]
            marker = MARKERS[number % len(MARKERS)]
            reached, after_epochs = _reached(training)
            accuracy.plot(epochs, after_epochs, marker=marker, **style)
        loss.set_title(f"{short(network_label(members[0].cell))}: training loss")
        loss.set_yscale("log" if min(min(r.training.losses) for r in members if r.training) > 0 else "linear")
        plain_ticks(loss.yaxis)
        distance.set_title(f"|loss / {short(label(members[0].cell))} - 1|")
        distance.set_yscale("log")
        power_ticks(distance.yaxis)
        accuracy.set_title(reached)
        accuracy.locator_params(axis="x", integer=True)
        if reached == "test accuracy":
            percent_ticks(accuracy)
        for axis, unit in ((loss, "step"), (distance, "step"), (accuracy, "epoch")):
            axis.set_xlabel(unit)
            axis.grid()
        loss.legend(fontsize=8)
    return figure


def _reached(training: Training) -> tuple[str, list[float]]:
    """What is drawn of each epoch's test images: the accuracy, the first metric, or the loss where there is neither."""
    epochs = training.epochs
    if epochs and epochs[0].test_accuracy is None:
        if not epochs[0].metrics:
            if epochs[0].test_loss is None:
                return "mean training loss", [epoch.train_loss for epoch in epochs]
            return "test loss", [math.nan if epoch.test_loss is None else epoch.test_loss for epoch in epochs]
        values = [epoch.metrics[0].value for epoch in epochs]
        return f"test {epochs[0].metrics[0].metric}", [math.nan if value is None else value for value in values]
    return "test accuracy", [epoch.test_accuracy or 0.0 for epoch in epochs]


def _distances(reference: Record, record: Record) -> tuple[list[int], list[float]]:
    """The steps with a relative distance of their losses above nothing, and the distances."""
    assert reference.training is not None
    assert record.training is not None
    pairs = zip(reference.training.losses, record.training.losses, strict=False)
    known = [(step, abs(b / a - 1)) for step, (a, b) in enumerate(pairs, 1) if a and a != b]
    return [step for step, _ in known], [value for _, value in known]


def speed_against_error(records: Sequence[Record], colours: Colours) -> Figure:
    """Each timed cell: images per second against the share of the error budget that its forward pass used."""
    checks = checks_by_program(records)
    points = [
        (record, record.latency.throughput_images_per_s.value, used)
        for record in records
        if record.latency and (used := budget_used(checks.get(record.cell.program_key, ()), FORWARD)) is not None
    ]
    figure, ((axis,),) = panels(1, 1, 11.2, 4.2)
    names = network_labels(record.cell for record, _, _ in points)
    kinds = dict.fromkeys((record.cell.network_key, record.cell.batch) for record, _, _ in points)
    shapes = {kind: MARKERS[number % len(MARKERS)] for number, kind in enumerate(kinds)}
    for record, speed, used in points:
        marker = shapes[record.cell.network_key, record.cell.batch]
        axis.scatter([speed], [max(used, 1e-4)], s=60, marker=marker, color=colours[record.cell.series],
                     edgecolor="white", linewidth=0.8, zorder=3)  # fmt: skip
    axis.axhline(1.0, color="#c0392b", linewidth=1, linestyle="--")
    axis.set_xscale("log")
    axis.set_yscale("log")
    percent_ticks(axis)
    plain_ticks(axis.xaxis)
    axis.set_xlabel("images/s (further right is faster)")
    axis.set_ylabel("error budget used (lower is closer)")
    axis.grid(which="major")
    _two_legends(axis, colours, [f"{short(names[network])}, batch {batch}" for network, batch in kinds])
    return figure


def _two_legends(axis: Axes, colours: Colours, kinds: list[str]) -> None:
    from matplotlib.lines import Line2D

    backends = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=short(name)) for name, colour in colours.items()
    ]
    shapes = [
        Line2D([], [], marker=MARKERS[i % len(MARKERS)], linestyle="", color="#52606d", label=name)
        for i, name in enumerate(kinds[:MOST_PANELS])
    ]
    if len(kinds) > MOST_PANELS:
        shapes.append(Line2D([], [], linestyle="", label=f"{len(kinds) - MOST_PANELS} more"))
    axis.legend(handles=[*backends, *shapes], fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _by(records: Sequence[Record], key: Callable[[Record], Key | None]) -> dict[Key, list[Record]]:
    """The records by their key; those that have none are left out."""
    groups: dict[Key, list[Record]] = {}
    for record in records:
        found = key(record)
        if found is not None:
            groups.setdefault(found, []).append(record)
    return groups


def charts(records: Sequence[Record], budgets: Mapping[str, Sequence[NodeUse]], colours: Colours) -> dict[str, str]:
    """Every chart that the records have figures for, as inline SVG by name.

    Args:
        records: Of the run's cells.
        budgets: What each node used of its budget, by the cell's id.
        colours: ``#rrggbb`` by series.
    """
    wanted: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "latency": (any(record.latency for record in records), lambda: latency_bars(records, colours)),
        "scatter": (
            any(record.latency for record in records) and any(record.checks for record in records),
            lambda: speed_against_error(records, colours),
        ),
        "nodes": (any(budgets.values()), lambda: budget_by_node(records, budgets, colours)),
        "throughput": (bool(throughput_curves(records)), lambda: throughput_by_batch(records, colours)),
        "memory": (bool(memory_curves(records)), lambda: memory_by_batch(records, colours)),
        "training": (any(record.training for record in records), lambda: training_curves(records, colours)),
    }
    return {name: svg(name, draw) for name, (there, draw) in wanted.items() if there}
