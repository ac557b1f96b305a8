"""The gate: compares every metric of every cell of a run with its baseline, and sets the exit code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cnnbench.gates.baselines import CellSnapshot, Snapshot
from cnnbench.gates.cases import Matched, MetricCase, shown, why_not
from cnnbench.gates.controls import floor_of, floor_sentence
from cnnbench.gates.judgement import Change, Judgement, Verdict, as_difference, as_ratio, discoveries, judgement
from cnnbench.gates.latency import noise_floor
from cnnbench.gates.pairs import Pair
from cnnbench.gates.rules import METRICS, Rules
from cnnbench.harness.run.exit_codes import INCONCLUSIVE, OK, REGRESSED
from cnnbench.harness.suite.cell import Key
from cnnbench.spec.frozen import Frozen


class GateResult(Frozen):
    """The verdicts of a gate on one run, and the exit code that follows from them.

    Args:
        suite: Name of the suite.
        base_run, head_run: Ids of the baseline and of the run.
        paired: Whether base and head ran in the same rounds (an A/B run).
        unfinished: Names of runs without a plan or a summary, which may have been interrupted.
        absent: Ids of the baseline's cells that a run of the whole suite lacks.
        verdicts: One for each metric of each cell.
        series: One for each backend and mode: the verdict on the mean change of its latencies.
        notes: Sentences on the whole comparison: the machine, its drift, cells that were not run.
    """

    suite: str
    base_run: str
    head_run: str
    paired: bool
    unfinished: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...]
    series: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[Judgement, int]:
        """How many verdicts of each kind (cells, not series)."""
        return dict(Counter(verdict.verdict for verdict in self.verdicts))

    @property
    def exit_code(self) -> int:
        """1 with a regression; else 5 where a verdict is missing or not conclusive, or nothing was judged; else 0."""
        found = {verdict.verdict for verdict in self.verdicts}
        if "regressed" in found or any(verdict.verdict == "regressed" for verdict in self.series):
            return REGRESSED
        if self.unfinished or self.absent or not found or found & {"inconclusive", "not comparable"}:
            return INCONCLUSIVE
        return OK


def gate(head: Snapshot, base: Snapshot, rules: Rules | None = None, *, paired: bool = False) -> GateResult:
    """Judges every metric of every cell of a run against its baseline.

    Args:
        head: The run.
        base: The baseline, or the base side of the same run.
        rules: The tolerances; by default those of a suite without a ``gates`` section.
        paired: Whether base and head ran in the same rounds (an A/B run). Then the machine is the same, and its drift
            cancels in each round.

    Returns:
        One verdict for each metric of each cell of ``head``. A cell or a figure that one side lacks is not comparable
        (exit code 5). A cell of ``base`` that ``head`` lacks gives exit code 5 too, unless the run was asked for a part
        of the suite only.
    """
    rules = rules or Rules()
    before = {cell.cell.key: cell for cell in base.cells}
    pairs, verdicts = [], []
    for cell in head.cells:
        if cell.cell.skip is not None or cell.status == "skipped":
            if before.get(cell.cell.key) is not None and before[cell.cell.key].status == "ok":
                verdicts += _all_not_comparable(cell, f"skipped this time: {cell.reason or cell.cell.skip}", rules)
            continue
        reason = why_not(before.get(cell.cell.key), cell)
        if reason is not None:
            verdicts += _all_not_comparable(cell, reason, rules)
        else:
            pairs.append(Pair(before[cell.cell.key], cell))
    absent = _absent(base, head)
    same = paired or (head.fingerprint == base.fingerprint != "")
    cases = Matched(base, head, tuple(pairs), rules, paired, same).cases()
    verdicts += _judged(cases, rules, paired=paired)
    order = {cell.cell.id: i for i, cell in enumerate(head.cells)}
    verdicts.sort(key=lambda verdict: (order[verdict.subject], rules.place(verdict.metric)))
    return GateResult(
        suite=head.suite,
        base_run=base.run_id,
        head_run=head.run_id,
        paired=paired,
        absent=() if head.selected else absent,
        verdicts=tuple(verdicts),
        series=_series(cases, rules),
        notes=(*_of_absent(absent, head), *_notes(base, head, same, paired, pairs, rules)),
    )


def gate_sides(run: Snapshot, rules: Rules | None = None) -> GateResult:
    """Judges the head side of an A/B run against its base side."""
    return gate(run.side("head"), run.side("base"), rules, paired=True)


def _all_not_comparable(cell: CellSnapshot, reason: str, rules: Rules) -> list[Verdict]:
    """The verdict "not comparable" for each metric that the suite measures on the cell."""
    asked: list[str] = [metric for metric in ("latency", "memory") if metric in cell.cell.measure]
    asked += ["numerics"] if cell.cell.checks else []
    asked += ["accuracy"] if cell.cell.train and cell.cell.program is None and not cell.scores else []
    asked += [score.metric for score in cell.scores]
    return [
        Verdict(**_names(cell), metric=metric, verdict="not comparable", reason=reason)
        for metric in asked
        if (metric if metric in METRICS else "metrics") in rules.metrics
    ]


def _names(cell: CellSnapshot) -> dict[str, Any]:
    return {
        "subject": cell.cell.id,
        "key": cell.cell.key,
        "series": cell.cell.series,
        "architecture": cell.cell.network or cell.cell.architecture,
        "batch": cell.cell.batch,
    }


def _judged(cases: list[MetricCase], rules: Rules, *, paired: bool) -> list[Verdict]:
    """The verdict on every case.

    The false discovery rate is controlled within each metric. Sequential sampling judges latencies only: a cell that it
    found decided must not become undecided because of p values of other metrics.
    """
    stands: dict[int, bool] = {}
    for metric in dict.fromkeys(case.metric for case in cases):
        members = [i for i, case in enumerate(cases) if case.metric == metric]
        stands |= zip(members, discoveries([cases[i].change for i in members], rules), strict=True)
    verdicts = []
    for i, case in enumerate(cases):
        values: dict[str, Any] = _names(case.pair.head)
        verdict, reason = case.verdict, case.reason
        if case.change is not None:
            verdict, reason = judgement(case.change, rules, discovered=stands[i])
            if case.figures is not None or case.metric == "accuracy":
                values |= as_difference(case.change, rules, falls=case.falls)
            else:
                values |= as_ratio(case.change, rules)
            reason = "; ".join(filter(None, (reason, case.reason)))
        before, after = shown(case, paired=paired)
        verdicts.append(
            Verdict(
                **values,
                metric=case.metric,
                unit=case.unit,
                verdict=verdict,
                reason=reason,
                baseline=before,
                head=after,
            )
        )
    return verdicts


def _series(cases: list[MetricCase], rules: Rules) -> tuple[Verdict, ...]:
    """The verdict on the mean change of latencies, for each backend and mode with two and more cells.

    Example: ten cells that are 2 % slower, each within its noise, are a regression of the backend.
    """
    groups: dict[Key, list[tuple[CellSnapshot, Change]]] = {}
    for case in cases:
        if case.metric == "latency" and case.change is not None and case.change.doubt is None:
            groups.setdefault(case.pair.series, []).append((case.pair.head, case.change))
    means = {series: _mean_change([change for _, change in found]) for series, found in groups.items()}
    stands = dict(zip(means, discoveries(list(means.values()), rules), strict=True))
    verdicts = []
    for series, found in groups.items():
        if len(found) < 2:
            continue
        verdict, reason = judgement(means[series], rules, discovered=stands[series])
        label = found[0][0].cell.series
        verdicts.append(
            Verdict(
                subject=label,
                key="",
                series=label,
                architecture=f"{len(found)} cells",
                batch=None,
                metric="latency",
                verdict=verdict,
                reason=reason,
                **as_ratio(means[series], rules),  # type: ignore[arg-type]
            )
        )
    return tuple(verdicts)


def _mean_change(changes: list[Change]) -> Change:
    """The mean of n changes, with error^2 = (mean of error^2) (1 + 1 / n) / 2.

    Half of each variance is attributed to the machine's drift. All n share it, so it does not average out; the other
    half is divided by n.
    """
    count = len(changes)
    variance = sum(change.error**2 for change in changes) / count
    return replace(
        changes[0],
        estimate=sum(change.estimate for change in changes) / count,
        error=math.sqrt(variance * (1 + 1 / count) / 2),
        degrees=max(change.degrees for change in changes),
        threshold=sum(change.threshold for change in changes) / count,
        confidence=max((change.confidence for change in changes if change.confidence is not None), default=None),
    )


def _absent(base: Snapshot, head: Snapshot) -> tuple[str, ...]:
    """Ids of the cells that the baseline measured and the run does not have."""
    keys = {cell.cell.key for cell in head.cells}
    return tuple(cell.cell.id for cell in base.cells if cell.cell.key not in keys and cell.status != "skipped")


def _of_absent(absent: tuple[str, ...], head: Snapshot) -> Iterable[str]:
    if absent:
        shown = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
        why = "of which a part was asked for" if head.selected else "so nothing says how they are now"
        yield f"{len(absent)} cells of the baseline are not in this run, {why}: {shown}"


def _notes(base: Snapshot, head: Snapshot, same: bool, paired: bool, pairs: list[Pair], rules: Rules) -> Iterable[str]:
    """What concerns the whole comparison."""
    if not same:
        machines = f"baseline {base.fingerprint or 'unknown'}, run {head.fingerprint or 'unknown'}"
        yield f"the machine differs ({machines}): latency and memory are not comparable; numerics and accuracy are"
    for name in sorted(base.yardsticks.keys() & head.yardsticks.keys()) if same and not paired else ():
        yield (
            f"yardstick {name}: {base.yardsticks[name]:.4g} in the baseline, {head.yardsticks[name]:.4g} in this run "
            f"({head.yardsticks[name] / base.yardsticks[name] - 1:+.1%})"
        )
    timed = [pair for pair in pairs if pair.base.rounds and pair.head.rounds]
    if same and timed:
        floor = noise_floor(timed, rules)
        for name, run in (("the baseline", base), ("this run", head)):
            controls = floor_of((cell.control for cell in run.cells), rules)
            if controls is not None:
                yield floor_sentence(controls, name)
        yield f"noise floor: the same program differs by {floor:.1%} (one standard deviation) from process to process"
