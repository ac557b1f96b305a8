"""How a metric of test images changed between two runs: image by image, where both kept what each contributed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cnnbench.errors import DataError
from cnnbench.gates.judgement import Change
from cnnbench.gates.rules import Rules
from cnnbench.harness.suite.gates import MetricsGate
from cnnbench.measurement.student import student_quantile
from cnnbench.training.metrics.kept import restored
from cnnbench.training.metrics.paired import SIGN_TEST, MetricDifference, compared
from cnnbench.training.metrics.score import Score


@dataclass(frozen=True)
class ScoreChange:
    """A metric in two runs.

    Args:
        change: Larger is worse; None where the two cannot be compared.
        reason: Why they cannot, or how they were compared.
    """

    change: Change | None
    reason: str = ""


def score_change(base: Score | None, head: Score | None, rules: Rules) -> ScoreChange:
    """How much worse a metric is in the head run.

    A regression needs both: the interval of the drop, one-sided with the confidence 1 - ``false_alarm_rate``, lies
    beyond the margin; and ``compared``'s test tells the two runs apart at that rate. The test is exact where nothing
    changed, so that at most that share of unchanged cells is called regressed, whatever the figure and however few
    images there are. Where a run did not keep what each image contributed, both runs' own intervals are taken, and the
    images count as different ones.

    Args:
        base: In the baseline; None where it has none.
        head: In the run; None where it has none.
        rules: With the margin.
    """
    gate = rules.gates.metrics
    assert gate is not None
    for score, run in ((head, "this run"), (base, "the baseline")):
        if score is None or score.value is None:
            return ScoreChange(None, f"{run} has no such figure" if score is None else f"it is not defined in {run}")
    assert base is not None
    assert head is not None
    if base.images != head.images:
        return ScoreChange(None, f"the test sets differ in size: {base.images} and {head.images}")
    if base.per_image is None or head.per_image is None:
        return _unpaired(base, head, gate)
    better, worse = (base, head) if base.higher_is_better else (head, base)
    try:
        found = compared(restored(better.per_image or {}), restored(worse.per_image or {}))
    except DataError as error:
        return ScoreChange(None, str(error).partition("\n")[0])
    return _paired(found, base, gate)


def margin(score: Score, gate: MetricsGate) -> float:
    """What is tolerated, in the metric's unit: the suite's for this metric, or for all, or the metric's own."""
    own = score.margin if gate.margin is None else gate.margin
    return float(gate.margins.get(score.metric, own))


def _paired(found: MetricDifference, base: Score, gate: MetricsGate) -> ScoreChange:
    threshold, doubt = margin(base, gate), None
    if found.test == SIGN_TEST:
        threshold = max(threshold, 1 / found.images)
    if not math.isfinite(found.error):
        doubt = "without one of the images the figure is not defined: it has no standard error"
    elif found.value > threshold and found.p_above > gate.false_alarm_rate:
        doubt = f"{found.differing} of {found.images} images differ: the {found.test} cannot tell the drop from chance"
    change = Change(
        estimate=found.value,
        error=found.error,
        degrees=found.degrees,
        threshold=threshold,
        doubt=doubt,
        confidence=1 - 2 * gate.false_alarm_rate,
        p_value=found.p_value,
    )
    return ScoreChange(change, f"{found.test}, p = {found.p_value:.2g}")


def _unpaired(base: Score, head: Score, gate: MetricsGate) -> ScoreChange:
    """From the intervals of both runs."""
    errors = [_error(score) for score in (base, head)]
    if base.value is None or head.value is None or None in errors:
        return ScoreChange(None, "neither what each image contributed nor an interval was kept")
    drop = base.value - head.value if base.higher_is_better else head.value - base.value
    error = math.hypot(*(error for error in errors if error is not None))
    change = Change(
        estimate=drop,
        error=error,
        degrees=max(base.images - 1, 1),
        threshold=margin(base, gate),
        confidence=1 - 2 * gate.false_alarm_rate,
    )
    return ScoreChange(change, "from the intervals of both runs: what each image contributed was not kept")


def _error(score: Score) -> float | None:
    if score.low is None or score.high is None:
        return None
    return (score.high - score.low) / 2 / student_quantile((1 + score.confidence) / 2, max(score.images - 1, 1))
