"""The claims of a training run: its curve, bit for bit or within the bundle's envelope, and each metric."""

from __future__ import annotations

from collections.abc import Iterator

from cnnbench.gates.baselines import CellSnapshot, judged_scores
from cnnbench.gates.judgement import judgement
from cnnbench.gates.resources import accuracy_change, not_same_test
from cnnbench.gates.rules import Rules
from cnnbench.gates.scores import score_change
from cnnbench.gates.verification import Found, Grade
from cnnbench.harness.passes.findings import Training
from cnnbench.harness.run.record import Record
from cnnbench.numerics.training_envelope import CurveEnvelope, agreement

GRADES_OF_VERDICTS: dict[str, Grade] = {
    "unchanged": "within budget",
    "improved": "within budget",
    "regressed": "not reproduced",
}


def claims_a_curve(training: Training) -> bool:
    """Whether something says how far the curve may be off; where nothing does, the metrics are claimed alone."""
    return bool(training.envelope or training.predictions or not training.metrics)


def metric_claims(before: Training, other: Record, rules: Rules) -> Iterator[tuple[str, Found]]:
    """The grade of each metric that is judged, paired over images where both runs kept what each contributed.

    Args:
        before: In the bundle.
        other: The same cell here.
        rules: The tolerances.
    """
    if rules.gates.metrics is None:
        return
    after = {} if other.training is None else {score.metric: score for score in judged_scores(other.training)}
    for score in judged_scores(before):
        again = after.get(score.metric)
        shown, now = score.in_words, None if again is None else again.in_words
        if again is not None and (again.value, again.per_image) == (score.value, score.per_image):
            yield score.metric, Found("bitwise", shown, now)
            continue
        found = score_change(score, again, rules)
        if found.change is None:
            yield score.metric, Found("not comparable", shown, now, found.reason)
            continue
        verdict, reason = judgement(found.change, rules, discovered=True)
        reason = "; ".join(filter(None, (reason, found.reason)))
        yield score.metric, Found(GRADES_OF_VERDICTS.get(verdict, "not comparable"), shown, now, reason)


def training_claim(before: Training, other: Record, rules: Rules) -> Found:
    """The grade of a training run against its second run.

    Args:
        before: In the bundle.
        other: The same cell here.
        rules: The tolerances, for a bundle without an envelope.
    """
    after = other.training
    shown = before.in_words
    if after is None:
        return Found("not comparable", shown, reason=f"it was not trained here: {other.reason or other.status}")
    now = after.in_words
    if before.losses == after.losses and before.predictions == after.predictions:
        return Found("bitwise", shown, now)
    if before.envelope is not None:
        return _in_envelope(before.envelope.envelope, after, shown, now)
    return _by_accuracy(before, other, rules, shown, now)


def _in_envelope(envelope: CurveEnvelope, after: Training, shown: str, now: str) -> Found:
    """The new curve in the envelope of reference runs that the bundle brings."""
    found = agreement(after.losses, after.test_accuracy, envelope)
    if found.agrees is None:
        reason = "the envelope of the curve ends at its first step"
        if found.parts_at is not None:
            reason = f"it parts at step {found.parts_at} of {found.steps}, as rounding alone can make it"
        return Found("not comparable", shown, now, reason)
    used = f"{found.used:.1%} of the envelope over {found.steps_compared} of {found.steps} steps"
    return Found("within budget" if found.agrees else "not reproduced", shown, now, used)


def _by_accuracy(before: Training, other: Record, rules: Rules, shown: str, now: str) -> Found:
    """Where there is no envelope: whether the accuracy fell by more than the margin on the same test images."""
    after = other.training
    assert after is not None
    reason = not_same_test(before.targets, after.targets)
    if reason is not None or not before.predictions or rules.gates.accuracy is None:
        return Found("not comparable", shown, now, reason or "the bundle has neither envelope nor predictions")
    base, head = (
        CellSnapshot(cell=other.cell, status="ok", predictions=run.predictions, targets=run.targets)
        for run in (before, after)
    )
    verdict, reason = judgement(accuracy_change(base, head, rules), rules, discovered=True)
    return Found(GRADES_OF_VERDICTS.get(verdict, "not comparable"), shown, now, reason)
