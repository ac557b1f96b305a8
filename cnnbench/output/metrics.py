"""The metrics that cnnbench ships: the arithmetic speed that a latency means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnbench.harness.run.extensions import Metric
    from cnnbench.harness.run.record import Record


def shipped() -> tuple[Metric, ...]:
    """Multiply-accumulates per second."""
    from cnnbench.harness.run.extensions import Metric

    return (Metric(name="gmac_per_s", unit="GMAC/s", compute=gmac_per_s),)


def gmac_per_s(record: Record) -> float | None:
    """The network's multiply-accumulates times the batch, over the median latency, in 1e9 per second.

    Counted on the graph as it is written: a folded batch norm saves work that the count still holds.
    """
    if record.latency is None:
        return None
    from cnnbench.harness.suite.networks import network
    from cnnbench.spec.summary import summarize

    cell = record.cell
    macs = summarize(network(cell.architecture, cell.image, cell.num_classes)).macs
    return macs * cell.batch / record.latency.median_s.value / 1e9
