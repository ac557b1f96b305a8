"""What a gate tolerates: the suite's thresholds, and what is assumed where a run cannot show its own variation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cnnbench.gates.alpha_spending import AlphaSpending
from cnnbench.harness.suite.gates import Gates
from cnnbench.harness.suite.model import Suite

Metric = Literal["latency", "memory", "numerics", "accuracy", "metrics"]  # "metrics": those of test images, by name
METRICS: tuple[Metric, ...] = ("latency", "memory", "numerics", "accuracy", "metrics")


@dataclass(frozen=True)
class Rules:
    """The tolerances of a gate.

    Args:
        gates: The suite's ``gates`` section: what is judged, thresholds, the changes that are too small to matter.
        resolution: A verdict ``unchanged`` excludes changes beyond this multiple of the threshold; a comparison
            that cannot is inconclusive.
        launch_variation: Relative variation of a latency from process to process, blended with the observed one as
            if ``prior_degrees`` observations had shown it; ``memory_variation`` likewise for the peak memory.
        yardstick_variation: Relative uncertainty of the machine's yardsticks from run to run.
        power: At which the smallest detectable change is stated.
        spending: The interim analyses of an A/B comparison, where its sampling is sequential; None for one analysis.
    """

    gates: Gates = field(default_factory=Gates)
    resolution: float = 2.0
    launch_variation: float = 0.02
    memory_variation: float = 0.01
    yardstick_variation: float = 0.05
    prior_degrees: float = 4.0
    power: float = 0.8
    spending: AlphaSpending | None = None

    @classmethod
    def of(cls, suite: Suite) -> Rules:
        """The rules of a suite."""
        latency = suite.measure.latency
        spending = AlphaSpending(latency.launches, latency.most_launches) if latency and latency.sequential else None
        return cls(gates=suite.gates, spending=spending)

    def place(self, metric: str) -> int:
        """The place of a verdict's metric among what is judged; those of test images come last."""
        return METRICS.index(metric) if metric in METRICS else len(METRICS)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is judged, in the order in which it is shown."""
        return tuple(metric for metric in METRICS if getattr(self.gates, metric) is not None)
