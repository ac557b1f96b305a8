"""What a suite says of gates: when a run may not land."""

from __future__ import annotations

from pydantic import Field

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
    numerics: NumericsGate | None = NumericsGate()
    confidence: Number = Field(default=0.95, gt=0.5, lt=1)
    false_discovery_rate: Number = Field(default=0.05, gt=0, lt=1)
    min_samples: PositiveInt = 10
