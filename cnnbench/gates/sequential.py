"""Sequential sampling: which cells of a running A/B comparison need more launches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.gates.baselines import CellSnapshot, round_medians
from cnnbench.gates.judgement import discoveries, judgement
from cnnbench.gates.latency import paired_latency_changes
from cnnbench.gates.pairs import Pair
from cnnbench.gates.rules import Rules

if TYPE_CHECKING:
    from cnnbench.harness.passes.facts import Undecided
    from cnnbench.harness.passes.findings import Sample
    from cnnbench.harness.suite.cell import Cell


def undecided_by(rules: Rules) -> Undecided:
    """A function from the samples so far to the keys of the cells that need more launches.

    A cell needs more where its latency would be inconclusive if the run ended now. A cell that has samples on one side
    only is left out: more launches would not make it comparable.

    Args:
        rules: The tolerances, with the plan of interim analyses.
    """

    def undecided(timed: Sequence[tuple[Cell, Sequence[Sample]]]) -> frozenset[str]:
        if rules.gates.latency is None:
            return frozenset()
        sides: dict[str, dict[str, CellSnapshot]] = {}
        for cell, samples in timed:
            if samples:
                found = CellSnapshot(cell=cell, status="ok", rounds=round_medians(samples, in_turns=True))
                sides.setdefault(cell.key, {})[cell.side] = found
        pairs = [Pair(both["base"], both["head"]) for both in sides.values() if both.keys() == {"base", "head"}]
        changes = paired_latency_changes(pairs, rules)
        stands = discoveries(list(changes.values()), rules)
        return frozenset(
            key
            for (key, change), stood in zip(changes.items(), stands, strict=True)
            if judgement(change, rules, discovered=stood)[0] == "inconclusive"
        )

    return undecided
