"""What a gate judges: for each metric of each comparable cell its change, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cnnbench.gates.baselines import CellSnapshot, Snapshot
from cnnbench.gates.judgement import Change, Judgement
from cnnbench.gates.latency import latency_changes, latency_figures, paired_latency_changes
from cnnbench.gates.pairs import Pair
from cnnbench.gates.resources import (
    accuracy_change,
    largest_budget_used,
    memory_changes,
    not_same_test,
    numerics_verdict,
    peak_bytes,
)
from cnnbench.gates.rules import Rules
from cnnbench.gates.scores import score_change
from cnnbench.training.metrics.score import Score


@dataclass(frozen=True)
class MetricCase:
    """A metric of a cell before it is judged: either a change, or a verdict that needs none, with its reason.

    Args:
        falls: Whether what gets worse falls. unit: Of its figures. figures: Of base and head, where the cells' own
            fields do not hold them.
    """

    pair: Pair
    metric: str
    change: Change | None
    verdict: Judgement = "not comparable"
    reason: str = ""
    falls: bool = True
    unit: str = ""
    figures: tuple[float | None, float | None] | None = None


@dataclass(frozen=True)
class Matched:
    """Two snapshots and how they may be compared.

    Args:
        pairs: The cells that both have with the same digests.
        paired: Whether both ran in the same rounds. same_machine: whether times and sizes may be compared.
    """

    base: Snapshot
    head: Snapshot
    pairs: tuple[Pair, ...]
    rules: Rules
    paired: bool
    same_machine: bool

    def cases(self) -> list[MetricCase]:
        """All that can be judged."""
        found: list[MetricCase] = []
        for metric, make in (
            ("latency", _latency), ("memory", _memory), ("numerics", _numerics), ("accuracy", _accuracy),
            ("metrics", _scores),
        ):  # fmt: skip
            if metric in self.rules.metrics:
                found += make(self)
        return found


def why_not(base: CellSnapshot | None, head: CellSnapshot) -> str | None:
    """Why a cell cannot be compared with its baseline at all, or None."""
    if base is None:
        return "the baseline has no such cell"
    if head.digests is None:
        return f"nothing was measured: {head.status}" + (f", {head.reason}" if head.reason else "")
    if base.digests is None:
        return f"the baseline measured nothing: {base.status}" + (f", {base.reason}" if base.reason else "")
    differing = base.digests.differing(head.digests)
    if differing:
        return f"the digest of the {' and the '.join(differing)} differs"
    return None


def _latency(matched: Matched) -> Iterable[MetricCase]:
    rules, same = matched.rules, matched.same_machine
    asked = [pair for pair in matched.pairs if "latency" in pair.head.cell.measure or pair.base.rounds]
    timed = [pair for pair in asked if pair.base.rounds and pair.head.rounds]
    changes: Mapping[str, Change] = {}
    if same and matched.paired:
        changes = paired_latency_changes(timed, rules)
    elif same:
        changes = latency_changes(matched.base, timed, matched.head, rules)
    for pair in asked:
        change = changes.get(pair.key)
        reason = "" if change else _missing(pair, same, bool(pair.base.rounds), "timed")
        yield MetricCase(pair, "latency", change, reason=reason)


def _memory(matched: Matched) -> Iterable[MetricCase]:
    same = matched.same_machine
    asked = [pair for pair in matched.pairs if "memory" in pair.head.cell.measure or peak_bytes(pair.base) is not None]
    changes = memory_changes(asked, matched.rules) if same else {}
    for pair in asked:
        change = changes.get(pair.key)
        reason = "" if change else _missing(pair, same, peak_bytes(pair.base) is not None, "measured for memory")
        if same and change is None and None not in (peak_bytes(pair.base), peak_bytes(pair.head)):
            reason = "one side has the peak of the device's allocator, the other that of the process"
        yield MetricCase(pair, "memory", change, reason=reason)


def _missing(pair: Pair, same: bool, in_base: bool, what: str) -> str:
    """Why a metric of a comparable cell has no change."""
    if not same:
        return "the machine's fingerprint differs"
    if in_base:
        return f"the cell was not {what} this time: {_state(pair.head)}"
    return f"the baseline's cell was not {what}: {_state(pair.base)}"


def _state(cell: CellSnapshot) -> str:
    """Why a figure of a cell is absent."""
    return cell.reason or ("that was not asked for" if cell.status == "ok" else cell.status)


def _numerics(matched: Matched) -> Iterable[MetricCase]:
    """Checks belong to a program: whichever of its cells ran them, on either side, they are compared once a program.

    Where the suite asks for checks of a program and neither side ran any, nothing is known of its numbers.
    """
    checked = {cell.cell.program_key: cell for cell in matched.base.cells if cell.checks}
    done = {cell.cell.program_key for cell in matched.head.cells if cell.checks}
    for pair in matched.pairs:
        if pair.head.checks:
            base = checked.get(pair.base.cell.program_key, pair.base)
        elif pair.head.cell.program_key in done or not (pair.base.checks or pair.head.cell.checks):
            continue
        else:
            base = pair.base
        verdict, reason = numerics_verdict(base, pair.head, matched.rules)
        yield MetricCase(Pair(base, pair.head), "numerics", None, verdict, reason)


def _accuracy(matched: Matched) -> Iterable[MetricCase]:
    """A training run belongs to a program, whatever the batch of its cell: it is compared once, as checks are."""
    trained = {cell.cell.training_key: cell for cell in matched.base.cells if cell.predictions}
    done = {cell.cell.training_key for cell in matched.head.cells if cell.predictions}
    for pair in matched.pairs:
        base = trained.get(pair.base.cell.training_key, pair.base) if pair.head.cell.train else pair.base
        if not pair.head.cell.train and (pair.head.cell.training_key in done or not base.predictions):
            continue
        other_task = pair.head.scores or base.scores or pair.head.cell.program is not None
        if other_task and not (pair.head.predictions or base.predictions):
            continue  # no classifier: its metrics are judged
        if not pair.head.predictions or not base.predictions:
            reason = _missing(Pair(base, pair.head), True, bool(base.predictions), "trained")
            yield MetricCase(pair, "accuracy", None, reason=reason)
            continue
        unlike = not_same_test(base.targets, pair.head.targets)
        change = None if unlike else accuracy_change(base, pair.head, matched.rules)
        yield MetricCase(Pair(base, pair.head), "accuracy", change, reason=unlike or "")


def _scores(matched: Matched) -> Iterable[MetricCase]:
    """Metrics of test images belong to a training run, as the accuracy does."""
    trained = {cell.cell.training_key: cell for cell in matched.base.cells if cell.scores}
    done = {cell.cell.training_key for cell in matched.head.cells if cell.scores}
    for pair in matched.pairs:
        base = trained.get(pair.base.cell.training_key, pair.base) if pair.head.cell.train else pair.base
        if not pair.head.cell.train and pair.head.cell.training_key in done:
            continue
        before, after = ({score.metric: score for score in cell.scores} for cell in (base, pair.head))
        for name in {**before, **after}:
            scores = (before.get(name), after.get(name))
            found = score_change(*scores, matched.rules)
            known = next(score for score in scores if score is not None)
            yield MetricCase(
                Pair(base, pair.head), name, found.change, reason=found.reason, falls=known.higher_is_better,
                unit=known.unit, figures=(_value(scores[0]), _value(scores[1])),
            )  # fmt: skip


def _value(score: Score | None) -> float | None:
    return None if score is None else score.value


def shown(case: MetricCase, *, paired: bool) -> tuple[float | None, float | None]:
    """The figures of both sides that are shown beside a verdict."""
    if case.figures is not None:
        return case.figures
    if case.metric == "latency":
        return latency_figures(case.pair, case.change, paired=paired)
    return _figure(case.pair.base, case.metric), _figure(case.pair.head, case.metric)


def _figure(cell: CellSnapshot, metric: str) -> float | None:
    if metric == "memory":
        return peak_bytes(cell)
    if metric == "numerics":
        return largest_budget_used(cell)
    return cell.test_accuracy
