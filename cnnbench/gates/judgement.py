"""Judges a change from its confidence interval: improved, unchanged, regressed, inconclusive or not comparable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cnnbench.gates.rules import Rules
from cnnbench.harness.run.record import Interval
from cnnbench.measurement.student import student_quantile, student_tail
from cnnbench.spec.frozen import Frozen

Judgement = Literal["improved", "unchanged", "regressed", "inconclusive", "not comparable"]
LEAST_DRIFT = 0.0005  # a smaller one would show as 0.0 %
JUDGEMENTS: tuple[Judgement, ...] = ("regressed", "improved", "inconclusive", "not comparable", "unchanged")


@dataclass(frozen=True)
class Change:
    """An estimated change from base to head with its standard error, on an additive scale on which larger is worse.

    Args:
        estimate: log(head / base) for a metric that is judged by its ratio; base - head for accuracy.
        error: Standard error of the estimate.
        degrees: Degrees of freedom of the error; infinite where the error is known.
        threshold: The largest tolerated change, on the same scale: the relative threshold or the smallest absolute
            change that matters, whichever is larger.
        doubt: Why the change is inconclusive whatever its interval, or None.
        confidence: The confidence level of the interval after sequential sampling: that of the interim analysis at
            which sampling ended. None for the gate's own level.
        p_value: Two-sided p value of "nothing changed" from a test; None to compute Student's from the error.
        drift: The logarithm of how much slower the machine was in the head run; already subtracted from the estimate.
    """

    estimate: float
    error: float
    degrees: float
    threshold: float
    doubt: str | None = None
    confidence: float | None = None
    p_value: float | None = None
    drift: float = 0.0

    def confidence_under(self, rules: Rules) -> float:
        """The confidence level of the interval: the change's own, else the gate's."""
        return rules.gates.confidence if self.confidence is None else self.confidence

    def p_discovery(self, rules: Rules) -> float:
        """The p value that enters the control of the false discovery rate.

        An interim analysis may spend only a part of alpha. Its p value is divided by that part, so that it is
        comparable with p values of single analyses: where half of alpha may be spent, the p value doubles.
        """
        return min(1.0, self.p_changed * (1 - rules.gates.confidence) / (1 - self.confidence_under(rules)))

    def reach(self, confidence: float) -> float:
        """Half the width of Student's interval at this confidence level."""
        return student_quantile((1 + confidence) / 2, self.degrees) * self.error

    @property
    def p_changed(self) -> float:
        """Two-sided p value of "nothing changed"."""
        if self.p_value is not None:
            return self.p_value
        if self.error == 0:
            return 0.0 if self.estimate else 1.0
        return min(1.0, 2 * student_tail(abs(self.estimate) / self.error, self.degrees))

    def detectable(self, confidence: float, power: float) -> float:
        """The smallest true change that would be called a regression with this probability (the power)."""
        return self.threshold + self.reach(confidence) + student_quantile(power, self.degrees) * self.error

    def false_alarm_rate(self, confidence: float) -> float:
        """The probability that an unchanged cell is called regressed: its whole interval lies beyond the threshold."""
        if self.error == 0:
            return 0.0
        return student_tail((self.threshold + self.reach(confidence)) / self.error, self.degrees)


class Verdict(Frozen):
    """The gate's verdict on one metric of one cell, or of all cells of a backend together.

    Args:
        subject: The cell's id, or the series whose cells are judged together.
        key: The cell's key; "" for a series.
        series: Backend and mode.
        architecture: The network; for a series the number of its cells.
        batch: Images in a batch; None for a series.
        metric: latency, memory, numerics, accuracy, or the name of a metric on test images.
        unit: The unit of a metric on test images; "" for none.
        verdict: The verdict.
        baseline, head: The figures of both sides. Between two runs, head / baseline is ``change`` times the machine's
            drift, which ``reason`` states.
        scale: Whether ``change`` is head / base (``ratio``) or head - base (``difference``).
        change: The change with its confidence interval.
        threshold: The tolerated change, on the scale of ``change`` and without its sign.
        detectable: The smallest change that this comparison would have detected.
        noise: Half the width of the interval.
        false_alarm_rate: The probability that this comparison calls an unchanged cell regressed.
        reason: One sentence where the figures are not enough.
    """

    subject: str
    key: str
    series: str
    architecture: str
    batch: int | None
    metric: str
    unit: str = ""
    verdict: Judgement
    baseline: float | None = None
    head: float | None = None
    scale: Literal["ratio", "difference"] = "ratio"
    change: Interval | None = None
    threshold: float | None = None
    detectable: float | None = None
    noise: float | None = None
    false_alarm_rate: float | None = None
    reason: str = ""


def judgement(change: Change, rules: Rules, *, discovered: bool) -> tuple[Judgement, str]:
    """The verdict on a change, with its reason.

    Example: with a threshold of 5 %, an interval from +6 % to +9 % is a regression and one from -1 % to +2 % is
    unchanged. One from -4 % to +14 % is inconclusive, because it excludes neither.

    * Regressed: the whole interval lies beyond the threshold on the worse side, and the change is a discovery.
    * Improved: the same on the better side.
    * Unchanged: the estimate is within the threshold, and the interval excludes every change beyond ``resolution``
      times the threshold.
    * Inconclusive: anything else.

    Args:
        change: From base to head.
        rules: The tolerances.
        discovered: Whether the change is a discovery under the control of the false discovery rate.
    """
    if change.doubt is not None:
        return "inconclusive", change.doubt
    drift = math.expm1(change.drift)
    taken_out = "" if abs(drift) < LEAST_DRIFT else f"without the machine's drift of {drift:+.1%}"
    verdict, reason = _judgement(change, rules, discovered=discovered)
    return verdict, "; ".join(filter(None, (reason, taken_out)))


def _judgement(change: Change, rules: Rules, *, discovered: bool) -> tuple[Judgement, str]:
    reach = change.reach(change.confidence_under(rules))
    beyond = abs(change.estimate) - reach > change.threshold
    if beyond and discovered:
        return ("regressed" if change.estimate > 0 else "improved"), ""
    if beyond:
        return "inconclusive", "beyond the threshold, but with so many comparisons it may be chance"
    limit = change.threshold * rules.resolution
    if abs(change.estimate) <= change.threshold and abs(change.estimate) + reach <= limit:
        return "unchanged", ""
    return "inconclusive", "the interval is too wide: take more rounds or launches, or a quieter machine"


def discoveries(changes: list[Change | None], rules: Rules) -> list[bool]:
    """Whether each change is a discovery under Benjamini and Hochberg's control of the false discovery rate.

    Args:
        changes: One for each comparison; None for one that could not be made, which is no discovery.
        rules: The tolerances, with the false discovery rate.
    """
    from cnnbench.measurement.statistics import benjamini_hochberg

    known = [(i, change.p_discovery(rules)) for i, change in enumerate(changes) if change]
    stands = [False] * len(changes)
    if known:
        rejected = benjamini_hochberg([p for _, p in known], rules.gates.false_discovery_rate)
        for (i, _), value in zip(known, rejected, strict=True):
            stands[i] = value
    return stands


def as_ratio(change: Change, rules: Rules) -> dict[str, object]:
    """The fields of a ``Verdict`` for a change on the logarithmic scale: ratios head / base."""
    confidence = change.confidence_under(rules)
    reach = change.reach(confidence)
    return {
        "scale": "ratio",
        "change": Interval(
            value=math.exp(change.estimate),
            low=math.exp(change.estimate - reach),
            high=math.exp(change.estimate + reach),
            confidence=confidence,
        ),
        "threshold": math.expm1(change.threshold),
        "detectable": math.expm1(change.detectable(confidence, rules.power)),
        "noise": math.expm1(reach),
        "false_alarm_rate": change.false_alarm_rate(confidence),
    }


def as_difference(change: Change, rules: Rules, *, falls: bool = True) -> dict[str, object]:
    """The fields of a ``Verdict`` for a change on the additive scale: differences head - base.

    Args:
        change: The change; larger is worse.
        rules: The tolerances, with the confidence level.
        falls: Whether a metric that gets worse falls, as accuracy does; head - base is then negative.
    """
    estimate = -change.estimate if falls else change.estimate
    confidence = change.confidence_under(rules)
    reach = change.reach(confidence)
    return {
        "scale": "difference",
        "change": Interval(value=estimate, low=estimate - reach, high=estimate + reach, confidence=confidence),
        "threshold": change.threshold,
        "detectable": change.detectable(confidence, rules.power),
        "noise": reach,
        "false_alarm_rate": change.false_alarm_rate(confidence),
    }
