"""How far rounding explains that a network's values are apart, at every node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.calibration import Envelope
from cnnbench.numerics.case import Case
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.teacher_forcing import output_names
from cnnbench.porting.normal_form import PlainNetwork
from cnnbench.porting.values_apart import errors

Array = NDArray[Any]


@dataclass(frozen=True)
class NetworkValues:
    """The values of a network's nodes on some inputs, each with the error that a precision explains.

    Args:
        network: The network.
        inputs: In the order of its inputs.
        policy: The precision of the values that are compared.
    """

    network: PlainNetwork
    inputs: Sequence[Array]
    policy: PrecisionPolicy

    @property
    def exact(self) -> Mapping[str, Array]:
        """The float64 value of each node's outputs, by name."""
        return self._found[0]

    def share(self, name: str, array: Array) -> float:
        """The largest |error| of an array over the largest that rounding explains; infinite for another shape.

        Args:
            name: Of the value.
            array: What a program gives for it, canonical.
        """
        exact, envelope = self._found
        if array.shape != exact[name].shape:
            return float("inf")
        apart = float(errors(array, exact[name]).max(initial=0.0))
        return apart / (envelope.factor * envelope.size[name])

    @cached_property
    def _found(self) -> tuple[Mapping[str, Array], Envelope]:
        graph = self.network.graph
        every = tuple((value, value) for node in graph.nodes for value in output_names(graph, node))
        batch = {item.name: array for item, array in zip(graph.inputs, self.inputs, strict=True)}
        options = ProgramOptions("reference", self.policy)
        case = Case(replace(graph, outputs=every), self.network.arrays, batch, options)
        return forward_envelope(Oracle.of(case))
