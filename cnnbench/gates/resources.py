"""How memory, error budgets and test accuracy changed between two runs of a cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from cnnbench.gates.baselines import CellSnapshot
from cnnbench.gates.judgement import Change, Judgement
from cnnbench.gates.pairs import Pair
from cnnbench.gates.rules import Rules
from cnnbench.gates.variation import MINIMUM_RESIDUALS
from cnnbench.measurement.turn_ratio import MAD_TO_SIGMA
from cnnbench.numerics.outcome import why_unproven


def peak_bytes(cell: CellSnapshot) -> int | None:
    """The peak that counts: the device allocator's where there is one, else the process's above its null worker."""
    return cell.device_peak_bytes if cell.device_peak_bytes is not None else cell.peak_bytes


def memory_changes(pairs: Iterable[Pair], rules: Rules) -> dict[str, Change]:
    """The change of the peak memory of every pair that has one, by the cell's key.

    A run measures it once a cell; its variation is that of the other backends' cells between the same two runs, or
    the assumed one where that is larger.
    """
    gate = rules.gates.memory
    assert gate is not None
    known = [(pair, _memory_delta(pair)) for pair in pairs]
    changes = {}
    for pair, delta in known:
        base = peak_bytes(pair.base)
        if delta is None or base is None:
            continue
        others = [abs(value) for other, value in known if value is not None and other.backend != pair.backend]
        observed = MAD_TO_SIGMA * median(others) if len(others) >= MINIMUM_RESIDUALS else 0.0
        changes[pair.key] = Change(
            estimate=delta,
            error=max(observed, math.sqrt(2) * rules.memory_variation),
            degrees=max(rules.prior_degrees, len(others)),
            threshold=math.log1p(max(gate.threshold, gate.min_change_bytes / max(base, 1))),
        )
    return changes


def _memory_delta(pair: Pair) -> float | None:
    """log(head / base) of the peaks, in whole mebibytes at least, so that a peak of nothing has a logarithm."""
    base, head = peak_bytes(pair.base), peak_bytes(pair.head)
    same_kind = (pair.base.device_peak_bytes is None) == (pair.head.device_peak_bytes is None)
    if base is None or head is None or not same_kind:
        return None
    return math.log(max(head, 2**20) / max(base, 2**20))


def numerics_verdict(base: CellSnapshot, head: CellSnapshot, rules: Rules) -> tuple[Judgement, str]:
    """Regressed where a check that passed fails now, or exceeds its budget; improved the other way round.

    A check that one side alone ran makes the cell not comparable, and so does a cell of which neither ran any. A
    skipped check did not run. Where the checks of this run do not prove the program, the verdict is inconclusive.

    Args:
        base: The cell in the baseline.
        head: The cell in the run.
        rules: With the fraction of the error budget that a check may use.

    Returns:
        The verdict and one sentence on it.
    """
    gate = rules.gates.numerics
    assert gate is not None
    before, after = _ran(base), _ran(head)
    if not before | after:
        return "not comparable", "no check ran on either side"
    missing = sorted(before - after)
    if missing:
        return "not comparable", f"the check {missing[0]!r} did not run this time"
    new = sorted(after - before)
    bad_before = {name for name in before if _bad(base, name, gate.max_budget_used)}
    bad_after = {name for name in after if _bad(head, name, gate.max_budget_used)}
    worse = sorted(bad_after - bad_before)
    if worse:
        outcome = next(check for check in head.checks if check.name == worse[0])
        place = f" at {outcome.node}" if outcome.node else ""
        return "regressed", f"the check {worse[0]!r} fails{place}: {outcome.message}".rstrip(": ")
    unproven = why_unproven(head.checks)
    if unproven is not None:
        return "inconclusive", unproven
    if new:
        return "not comparable", f"the check {new[0]!r} is not in the baseline"
    if bad_before - bad_after:
        return "improved", f"the check {sorted(bad_before - bad_after)[0]!r} passes now"
    if bad_after:
        return "unchanged", f"the check {sorted(bad_after)[0]!r} fails as before"
    return "unchanged", ""


def _ran(cell: CellSnapshot) -> set[str]:
    return {check.name for check in cell.checks if check.status != "skipped"}


def _bad(cell: CellSnapshot, name: str, limit: float) -> bool:
    check = next(check for check in cell.checks if check.name == name)
    return check.status == "failed" or (check.budget_used is not None and not check.budget_used <= limit)


def largest_budget_used(cell: CellSnapshot) -> float | None:
    """The largest fraction of an error budget that a check of the cell used."""
    return max((check.budget_used for check in cell.checks if check.budget_used is not None), default=None)


def accuracy_change(base: CellSnapshot, head: CellSnapshot, rules: Rules) -> Change:
    """The drop of test accuracy on the same images.

    With b images that only base got right and c that only head did, the drop is (b - c) / n. Its standard error comes
    from the discordant pairs with one half added to each kind (Agresti and Min 2005): sqrt(b + c + 1 - (b - c)^2 / n)
    / n. McNemar's exact test (``mcnemar``) asks whether b and c may be equal.

    Args:
        base: The cell in the baseline, with its predictions.
        head: The cell in the run, with predictions for the same images.
        rules: With the margin that is tolerated.
    """
    gate = rules.gates.accuracy
    assert gate is not None
    right = [
        (before == target, after == target)
        for before, after, target in zip(base.predictions, head.predictions, head.targets, strict=True)
    ]
    lost = sum(before and not after for before, after in right)
    won = sum(after and not before for before, after in right)
    total = len(right)
    error = math.sqrt(max(lost + won + 1 - (lost - won) ** 2 / total, 0.0)) / total
    doubt = None
    estimate = (lost - won) / total
    if estimate > gate.margin and mcnemar(lost, won) > 1 - rules.gates.confidence:
        doubt = f"only {lost + won} predictions differ: McNemar's test cannot tell the drop from chance"
    return Change(estimate=estimate, error=error, degrees=math.inf, threshold=max(gate.margin, 1 / total), doubt=doubt)


def mcnemar(lost: int, won: int) -> float:
    """McNemar's exact two-sided p value: of lost + won fair coins, the chance of so uneven a fall.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions" (1947); the exact
    form is the sign test.
    """
    total = lost + won
    if total == 0:
        return 1.0
    tail: float = sum(math.comb(total, k) for k in range(min(lost, won) + 1)) / 2**total
    return float(min(1.0, 2 * tail))


def not_same_test(base: Sequence[int], head: Sequence[int]) -> str | None:
    """Why two sets of test targets cannot be paired, or None."""
    if len(base) != len(head):
        return f"the test sets differ in size: {len(base)} and {len(head)}"
    if list(base) != list(head):
        return "the test targets differ"
    return None
