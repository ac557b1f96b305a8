"""What is right for chains of nodes on special values: the float64 reference, and what narrower arithmetic may give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets import Budget, Setting, forward_budget
from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import LayerCall, LayerValues, reference, reference_options
from cnnbench.numerics.rounding import to_storage
from cnnbench.numerics.special_values import Chain, Probe, flushed
from cnnbench.spec.graph import Graph

Array = NDArray[Any]


@dataclass(frozen=True)
class SpecialTruth:
    """Chains of a network, and what is right for their last values.

    Args:
        oracle: Of the network.
        chains: Of it.
    """

    oracle: Oracle
    chains: Sequence[Chain]

    @cached_property
    def probe(self) -> Probe:
        """The chains side by side."""
        return Probe(self.oracle.case, self.chains)

    @cached_property
    def built(self) -> tuple[Graph, dict[str, Array], dict[str, Array]]:
        """Their graph, its arrays and its batch."""
        return self.probe.build()

    @property
    def _entry(self) -> CacheEntry:
        asked = [f"{'wide ' if chain.wide else ''}{' '.join(chain.nodes)}" for chain in self.chains]

        def fill(entry: CacheEntry) -> None:
            for name, value in self._run(self.built[2], "float64").items():
                entry.write(name, value)

        return self.oracle.cache.entry(self.oracle.case.key("special values", chains=asked), fill)

    def _run(self, batch: dict[str, Array], precision: str) -> dict[str, Array]:
        graph, arrays, _ = self.built
        with np.errstate(all="ignore"):
            return reference().subject.forward(graph, arrays, batch, reference_options(name=precision)).outputs

    def exact(self, i: int) -> Array:
        """The output of chain ``i``, rounded to storage: beyond the type's range it is infinite."""
        with np.errstate(over="ignore"):
            return to_storage(np.asarray(self._entry.read(f"output{i}")), self.oracle.case.policy)

    @cached_property
    def also_right(self) -> list[dict[str, Array]]:
        """The reference in the narrower arithmetic, and with denormals flushed to zero."""
        batch = self.built[2]
        narrow = "float64" if self.oracle.case.policy.name == "float64" else "float32"
        return [self._run(batch, narrow), self._run(flushed(batch), "float64"), self._run(flushed(batch), narrow)]

    @cached_property
    def of_ordinary_values(self) -> dict[str, Array]:
        """The reference on operands without special values: where a position differs, these decided it."""
        return self._run(replace(self.probe, plain=True).build()[2], "float64")

    def budget(self, i: int) -> Budget:
        """The admitted error of chain ``i``, which is one node."""
        graph, _, batch = self.built
        policy, node = self.oracle.case.policy, graph.node(f"chain{i}.0")
        call = LayerCall(node.layer, tuple(batch[value].astype(np.float64) for value in node.inputs))
        values = LayerValues((np.asarray(self._entry.read(f"output{i}")),), ())
        with np.errstate(all="ignore"):
            found = forward_budget(Setting(call, values, policy, reference())).outputs[0]
        return Budget(*(np.where(np.isnan(budget), np.inf, budget) for budget in found))
