"""From records to table values: the result table and its relatives, ready for a terminal, Markdown or HTML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Cell, Key
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.output import figures
from cnnbench.output.labels import label, network_label
from cnnbench.output.table import Column, Entry, ReportTable, Tone

WARM_CACHE = (
    "of the first launch; a compiler that keeps its code on disk (PyTorch's Inductor) may have found it there, from "
    "the checks or an earlier run"
)
DECLARED = "†"
FORWARD = ("local", "exact", "end_to_end", "timed", "determinism")
BACKWARD = ("gradient", "gradient_determinism", "training", "program")
BAD = ("crashed", "hung", "out_of_memory", "error", "nan", "wrong_shape", "wrong_dtype", "mismatch")


def checks_by_program(records: Iterable[Record]) -> dict[Key, tuple[CheckOutcome, ...]]:
    """The checks of each program, whichever of its cells ran them."""
    found: dict[Key, tuple[CheckOutcome, ...]] = {}
    for record in records:
        if record.checks:
            key = record.cell.program_key
            found[key] = (*found.get(key, ()), *record.checks)
    return found


def budget_used(checks: Iterable[CheckOutcome], names: Collection[str] = ()) -> float | None:
    """The largest fraction of the sharp error budget over the checks that state one, of those named if any are."""
    asked = [check for check in checks if not names or check.name in names]
    return max((check.budget_used for check in asked if check.budget_used is not None), default=None)


def result_table(records: Sequence[Record], units: Mapping[str, str] | None = None) -> ReportTable:
    """Backend x network x batch: error-budget use, latency, images/s, memory, compile time, accuracy, status.

    Args:
        records: Of one run.
        units: Of plugins' metrics, by name; a metric that a record has is a further column, headed by its unit.
    """
    checks = checks_by_program(records)
    extra = sorted({name for record in records for name in record.metrics})
    axes = _varying(records)
    columns = (
        Column("network", "left"),
        Column("batch"),
        *(Column(name, "left") for name in axes),
        Column("backend", "left"),
        Column("error budget", help="largest share of the derived error budget used in forward checks"),
        Column("in gradients", help="largest share used in checks of gradients and training steps"),
        Column("median latency", help="of one batch, with its 95 % confidence interval"),
        Column("images/s"),
        Column("peak memory", help="above what the same fresh worker held after a network of one ReLU"),
        Column("compile", help=WARM_CACHE),
        Column("accuracy", help="on the test set after training"),
        *(Column((units or {}).get(name) or name, help=name) for name in extra),
        Column("status", "left"),
    )
    rows = []
    for record in sorted(records, key=_order):
        cell = record.cell
        axis_entries = [Entry(_shown(getattr(cell, axes[name]))) for name in axes]
        metrics = [Entry(figures.plain(record.metrics.get(name))) for name in extra]
        rows.append(
            (
                Entry(network_label(cell)),
                Entry(str(cell.batch)),
                *axis_entries,
                Entry(label(cell), series=cell.series),
                *_measured(record, checks.get(cell.program_key, ())),
                *metrics,
                _marked(status_entry(record), checks.get(cell.program_key, ())),
            )
        )
    return ReportTable("Results", columns, tuple(rows))


def _measured(record: Record, checks: tuple[CheckOutcome, ...]) -> tuple[Entry, ...]:
    latency, memory = record.latency, record.memory
    peak = None if memory is None else memory.device_peak_bytes or memory.peak_bytes
    note: Tone = "warn" if latency is not None and not latency.steady else ""
    return (
        _budget_entry(checks, FORWARD),
        _budget_entry(checks, BACKWARD),
        Entry(figures.seconds_interval(latency.median_s if latency else None) + (" *" if note else ""), note),
        Entry(figures.plain(latency.throughput_images_per_s.value if latency else None)),
        Entry(figures.size(peak)),
        Entry(figures.seconds(record.phases.compile_s or None)),
        Entry(figures.percent(record.training.test_accuracy if record.training else None)),
    )


def _budget_entry(checks: tuple[CheckOutcome, ...], names: Collection[str]) -> Entry:
    failed = [check for check in checks if check.status == "failed" and check.name in names]
    used = budget_used(checks, names)
    if failed:
        return Entry(f"{figures.budget_used(used)} ({failed[0].name} failed)", "bad")
    return Entry(figures.budget_used(used), "good" if used is not None and used <= 1 else "")


def status_entry(record: Record) -> Entry:
    """The status with its reason, in the tone that it deserves."""
    if record.status == "ok" and record.inconclusive is not None:
        return Entry("inconclusive", "muted")
    tone: Tone = "good" if record.status == "ok" else "bad" if record.status in BAD else "muted"
    return Entry(record.status.replace("_", " "), tone)


def _marked(status: Entry, checks: tuple[CheckOutcome, ...]) -> Entry:
    return replace(status, text=f"{status.text} {DECLARED}") if declared_of(checks) else status


def declared_of(checks: Iterable[CheckOutcome]) -> tuple[str, ...]:
    """The kinds whose NaN, infinities or denormals come out otherwise than in the reference, as is declared."""
    return tuple(sorted({kind for check in checks for kind in check.details.get("declared", ())}))


def _varying(records: Sequence[Record]) -> dict[str, str]:
    """Headings of further axes, with the cell's field, in which cells of one network and batch differ."""
    axes = {"image": "image", "precision": "precision", "threads": "threads", "device": "device", "data": "data"}
    groups: dict[tuple[str, int], list[Cell]] = {}
    for record in records:
        groups.setdefault((network_label(record.cell), record.cell.batch), []).append(record.cell)
    return {
        name: field
        for name, field in axes.items()
        if any(len({getattr(cell, field) for cell in cells}) > 1 for cells in groups.values())
    }


def _shown(value: object) -> str:
    if value is None:
        return "all"
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _order(record: Record) -> tuple[object, ...]:
    """By network, image and batch; then as planned (sorting is stable)."""
    cell = record.cell
    return network_label(cell), cell.image, cell.precision, cell.batch


def problems_table(records: Sequence[Record]) -> ReportTable:
    """Every cell that did not end well or leaves a question open, and every failed check, with its reason or report."""
    rows = []
    for record in sorted(records, key=_order):
        if record.status == "skipped" or (record.status == "ok" and record.inconclusive is None):
            continue
        failed = [check for check in record.checks if check.status == "failed"]
        for check in failed:
            text = check.message + (f"\nreproduce: {check.reproducer}" if check.reproducer else "")
            rows.append(
                (
                    Entry(record.cell.id),
                    Entry(check.name, "bad"),
                    Entry(check.node or figures.NOTHING),
                    Entry(text),
                )
            )
        if not failed:
            status = status_entry(record)
            reason = record.reason or record.inconclusive or ""
            rows.append((Entry(record.cell.id), status, Entry(figures.NOTHING), Entry(reason)))
    columns = (
        Column("cell", "left"),
        Column("what", "left"),
        Column("node", "left"),
        Column("report", "left", prose=True),
    )
    return ReportTable("Failures", columns, tuple(rows))


def skips_table(records: Sequence[Record]) -> ReportTable:
    """Every cell and every check that was skipped, with the reason."""
    rows = []
    for record in sorted(records, key=_order):
        if record.status == "skipped":
            rows.append((Entry(record.cell.id), Entry("cell"), Entry(record.reason or record.cell.skip or "")))
        rows += [
            (Entry(record.cell.id), Entry(check.name), Entry(check.message))
            for check in record.checks
            if check.status == "skipped"
        ]
    columns = (Column("cell", "left"), Column("what", "left"), Column("reason", "left", prose=True))
    return ReportTable("Skipped", columns, tuple(rows))


def checks_table(records: Sequence[Record]) -> ReportTable:
    """Every numerical check: how much of its budget it used, where, and its outcome."""
    rows = []
    for record in sorted(records, key=_order):
        for check in record.checks:
            tone: Tone = {"passed": "good", "failed": "bad", "skipped": "muted"}[check.status]  # type: ignore[assignment]
            rows.append(
                (
                    Entry(network_label(record.cell)),
                    Entry(label(record.cell), series=record.cell.series),
                    Entry(check.name.replace("_", " ")),
                    Entry(figures.budget_used(check.budget_used)),
                    Entry(figures.budget_used(check.worst_case_used)),
                    Entry(check.node or figures.NOTHING),
                    Entry(check.status, tone),
                )
            )
    columns = (
        Column("network", "left"),
        Column("backend", "left"),
        Column("check", "left"),
        Column("sharp budget used"),
        Column("worst-case budget used"),
        Column("largest at", "left"),
        Column("outcome", "left"),
    )
    return ReportTable("Numerical checks", columns, tuple(rows))


def phases_table(records: Sequence[Record]) -> ReportTable:
    """Seconds of each phase before the steady state, the tail of the latencies, and what the machine did."""
    rows = []
    for record in sorted(records, key=_order):
        if record.latency is None:
            continue
        phases, latency, observed = record.phases, record.latency, record.observed
        rows.append(
            (
                Entry(network_label(record.cell)),
                Entry(str(record.cell.batch)),
                Entry(label(record.cell), series=record.cell.series),
                *(
                    Entry(figures.seconds(value))
                    for value in (phases.import_s, phases.build_s, phases.weights_s, phases.compile_s or None)
                ),
                Entry(figures.seconds(phases.warmup_s)),
                Entry(figures.seconds(latency.p90_s.value)),
                Entry(figures.seconds(latency.p99_s.value)),
                Entry(f"{latency.samples} / {latency.rounds} / {latency.launches}"),
                Entry(figures.plain(observed.threads)),
                Entry(
                    figures.NOTHING if observed.foreign_fraction is None else figures.percent(observed.foreign_fraction)
                ),
            )
        )
    names = ("import", "build", "weights", "compile", "warm-up", "p90", "p99")
    columns = (
        Column("network", "left"),
        Column("batch"),
        Column("backend", "left"),
        *(Column(name, help=WARM_CACHE if name == "compile" else "") for name in names),
        Column("calls / rounds / launches"),
        Column("threads used", help="processor time over wall time"),
        Column("others", help="share of the machine's processor time that other processes used meanwhile"),
    )
    return ReportTable("Phases and tails", columns, tuple(rows))
