"""The figures of a published page: what each is, how a table writes it, and where a chart puts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnnbench.gates.evidence import Evidence
from cnnbench.harness.run.record import Record
from cnnbench.output import figures
from cnnbench.output.network_dots import Dot
from cnnbench.output.tables import FORWARD, budget_used, checks_by_program

PRODUCT = "matrix_product_gflop_per_s"
BUDGET = "budget"


@dataclass(frozen=True, kw_only=True)
class PublishedFigure:
    """A figure that every cell of a run may have.

    Args:
        name: Of its chart's file.
        title: Its heading.
        axis: Its name with its unit, beside the chart.
        text: What it is, in a sentence.
        value: A record's figure, or None where it has none.
        shown: How a table writes it.
        percent: Whether it is a fraction.
    """

    name: str
    title: str
    axis: str
    text: str
    value: Callable[[Record], Dot | None]
    shown: Callable[[Record], str]
    percent: bool = False


def published_figures(run: Evidence) -> tuple[PublishedFigure, ...]:
    """The figures of a run's page in their order; the share of the machine's speed only where that was measured."""
    product = run.yardsticks.get(PRODUCT)
    return (LATENCY, MEMORY, *([_speed(product)] if product else ()), _budget(run), COMPILE)


def _latency_ms(record: Record) -> Dot | None:
    if record.latency is None:
        return None
    median = record.latency.median_s
    return Dot(1e3 * median.value, 1e3 * median.low, 1e3 * median.high)


def _peak(record: Record) -> int | None:
    if record.memory is None:
        return None
    on_device = record.memory.device_peak_bytes
    return record.memory.peak_bytes if on_device is None else on_device


def _memory_mib(record: Record) -> Dot | None:
    peak = _peak(record)
    return None if peak is None else Dot(peak / 2**20)


def _compile_s(record: Record) -> Dot | None:
    return None if record.phases.compile_s is None else Dot(record.phases.compile_s)


LATENCY = PublishedFigure(
    name="latency",
    title="Latency",
    axis="latency [ms]",
    text="The median of one batch in the steady state with its 95 % interval.",
    value=_latency_ms,
    shown=lambda record: figures.seconds_interval(record.latency.median_s if record.latency else None),
)
MEMORY = PublishedFigure(
    name="memory",
    title="Peak memory",
    axis="peak memory [MiB]",
    text="Above what the same fresh worker held before the network; weights included.",
    value=_memory_mib,
    shown=lambda record: figures.size(_peak(record)),
)
COMPILE = PublishedFigure(
    name="compile",
    title="Trace and compile",
    axis="trace and compile [s]",
    text="From the built program to its first result, less one steady call.",
    value=_compile_s,
    shown=lambda record: figures.seconds(record.phases.compile_s),
)


def _speed(product_gflop_per_s: float) -> PublishedFigure:
    def share(record: Record) -> Dot | None:
        speed = record.metrics.get("gmac_per_s")
        return None if speed is None else Dot(2 * speed / product_gflop_per_s)

    return PublishedFigure(
        name="speed",
        title="Share of the machine's matrix product",
        axis="share of the machine's matrix product",
        text=(
            "Two operations for each multiply-accumulate of the network, over the latency, as a share of "
            f"{figures.significant(product_gflop_per_s)} GFLOP/s: NumPy's float32 product of two 1024 x 1024 matrices "
            "in the same run. An algorithm that needs fewer operations than the definition of a convolution may pass "
            "100 %."
        ),
        value=share,
        shown=lambda record: _percent(share(record)),
        percent=True,
    )


def _budget(run: Evidence) -> PublishedFigure:
    checks = checks_by_program(run.records)

    def used(record: Record) -> Dot | None:
        largest = budget_used(checks.get(record.cell.program_key, ()), FORWARD)
        return None if largest is None else Dot(largest)

    return PublishedFigure(
        name=BUDGET,
        title="Error budget used",
        axis="error budget used",
        text="The largest share of the derived error budget in the forward checks; above 100 % a check fails.",
        value=used,
        shown=lambda record: _percent(used(record)),
        percent=True,
    )


def _percent(dot: Dot | None) -> str:
    return figures.percent(None if dot is None else dot.value)
