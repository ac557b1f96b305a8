"""What a suite says of gates: when a run may not land."""

from __future__ import annotations

from pydantic import Field, field_validator

from cnnbench.harness.suite.matrix import Number, PositiveFloat, PositiveInt, Whole
from cnnbench.spec.frozen import Frozen


class LatencyGate(Frozen):
    """Regressed: the interval of head / base lies above 1 + ``threshold``, by ``min_change_s`` or more."""

    threshold: PositiveFloat = 0.1
    min_change_s: Number = Field(default=50e-6, ge=0)


class MemoryGate(Frozen):
    """Regressed: head's peak is above base's by the fraction ``threshold`` and by ``min_change_bytes``."""

    threshold: PositiveFloat = 0.1
    min_change_bytes: Whole = Field(default=8 * 2**20, ge=0)


class AccuracyGate(Frozen):
    """Regressed: test accuracy fell by more than ``margin``, beyond chance on the same test images."""

    margin: Number = Field(default=0.01, ge=0, le=1)


class MetricsGate(Frozen):
    """Regressed: a metric of test images got worse by more than its margin, beyond chance on the same test images.

    Args:
        margin: In each metric's own unit; null takes what the metric declares.
        margins: For metrics by name: ``{mean_iou: 0.02}``.
        false_alarm_rate: The most that may be called regressed of metrics in which nothing changed.
    """

    margin: Number | None = Field(default=None, ge=0)
    margins: dict[str, Number] = Field(default_factory=dict)
    false_alarm_rate: Number = Field(default=0.01, gt=0, le=0.2)

    @field_validator("margins")
    @classmethod
    def _not_negative(cls, margins: dict[str, Number]) -> dict[str, Number]:
        for name, value in margins.items():
            if not value >= 0:
                raise ValueError(f"the margin of {name!r} is {value:g}, expected 0 or more")
        return margins


class NumericsGate(Frozen):
    """Regressed: a check fails, or uses more than ``max_budget_used`` of its budget."""

    max_budget_used: PositiveFloat = 1.0


class Gates(Frozen):
    """When a run may not land; null turns one off.

    Args:
        confidence: Of the intervals. false_discovery_rate: expected share of wrong alarms among alarms.
        min_samples: Cells with fewer samples are inconclusive.
    """

    latency: LatencyGate | None = LatencyGate()
    memory: MemoryGate | None = MemoryGate()
    accuracy: AccuracyGate | None = AccuracyGate()
    metrics: MetricsGate | None = MetricsGate()
    numerics: NumericsGate | None = NumericsGate()
    confidence: Number = Field(default=0.95, gt=0.5, lt=1)
    false_discovery_rate: Number = Field(default=0.05, gt=0, lt=1)
    min_samples: PositiveInt = 10
