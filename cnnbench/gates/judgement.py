"""Judges a change with its uncertainty: one of five verdicts."""

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
    """A change from base to head on an additive scale, larger being worse.

    Args:
        estimate: log(head / base) for what is judged by its ratio; base - head for accuracy.
        error: Standard error of the estimate. degrees: degrees of freedom behind it; infinite where it is known.
        threshold: What is tolerated, on the same scale: the relative threshold, or the smallest absolute change
            that matters, whichever is larger.
        doubt: Why the change must not be trusted whatever its interval, or None.
        confidence: Of its interval, where sampling was sequential: that of the interim analysis at which sampling
            ended. None for the gate's own.
        p_value: Two-sided, of nothing having changed, where a test gave it; None for Student's from the error.
        drift: What was taken out of the estimate: the logarithm of how much slower the machine was in the head run.
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
        """The confidence of its interval: the gate's, or its own."""
        return rules.gates.confidence if self.confidence is None else self.confidence

    def p_discovery(self, rules: Rules) -> float:
        """``p_changed`` for the control of false discoveries.

        An interim analysis may spend only a part of alpha. Its p value is divided by that part, so that it can be
        compared with p values of single analyses: where half of alpha may be spent, the p value doubles.
        """
        return min(1.0, self.p_changed * (1 - rules.gates.confidence) / (1 - self.confidence_under(rules)))

    def reach(self, confidence: float) -> float:
        """Half the width of the interval."""
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
        """The smallest true change that would be called a regression with that power."""
        return self.threshold + self.reach(confidence) + student_quantile(power, self.degrees) * self.error

    def false_alarm_rate(self, confidence: float) -> float:
        """The chance that an unchanged cell has its interval beyond the threshold on the worse side."""
        if self.error == 0:
            return 0.0
        return student_tail((self.threshold + self.reach(confidence)) / self.error, self.degrees)


class Verdict(Frozen):
    """What a gate says of one metric of one cell (or of all cells of a backend together).

    Args:
        metric: latency, memory, numerics, accuracy, or the name of a metric of test images. unit: Its unit, where it
            has one of its own.
        subject: The cell's id, or the series whose cells are taken together. key: the cell's; "" for a series.
        change: head / base with its interval (``scale`` ratio), or head - base (``scale`` difference).
        threshold: The change that is tolerated, on the scale of ``change`` and without its sign.
        detectable: The smallest change that this comparison would have found.
        noise: Half the width of the interval: what chance alone may show.
        false_alarm_rate: The chance that this comparison calls an unchanged cell regressed.
        baseline, head: The figures of both sides. head / baseline is ``change``, times the machine's drift where
            two runs are compared: ``reason`` says how much that is.
        reason: One sentence where the figures do not say it all.
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

    Example: a threshold of 5 %. An interval from +6 % to +9 % is a regression, one from -1 % to +2 % is no change,
    and one from -4 % to +14 % is inconclusive: it excludes neither.

    * Regressed: the whole interval lies beyond the threshold on the worse side, and the change is discovered.
    * Improved: the same on the better side.
    * Unchanged: the estimate is within the threshold, and the interval excludes every change beyond ``resolution``
      times the threshold.
    * Inconclusive: anything else.

    Args:
        change: From base to head.
        rules: The tolerances.
        discovered: Whether the control of false discoveries over all comparisons lets the change stand.
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
    """Whether each change is a discovery: its p value under "nothing changed" passes Benjamini and Hochberg's control.

    Args:
        changes: None stands for a comparison that could not be made.
        rules: With the rate of false discoveries.
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
    """The figures of a change of a logarithm as a verdict shows them."""
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
    """The figures of a change for the worse as a verdict shows them: head - base.

    Args:
        change: Larger is worse.
        rules: With the confidence.
        falls: Whether what got worse fell, so that its head - base is negative.
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
