"""Compares a backend's view with the reference's, by an envelope from views of the reference with rounding noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import HostArrays
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.budgets.shared import ValueNoise
from cnnbench.numerics.calibration import Envelope, calibrate, num_runs, rounding_floor
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import largest, largest_differences
from cnnbench.numerics.noise import noise, one_rounding, perturbed_precision, visit_budgets
from cnnbench.numerics.oracle import walk
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.reverse_noise import ReverseNoise
from cnnbench.numerics.rounding import all_to_storage
from cnnbench.numerics.teacher_forcing import noise_input, with_noise
from cnnbench.spec.graph import Graph
from cnnbench.spec.streams import stream
from cnnbench.views.network import ViewedNetwork
from cnnbench.views.view import NetworkView, ViewRequest, ViewResult

Array = NDArray[Any]


class _Noisy(NamedTuple):
    """A recorded call, ready to be repeated with noise.

    Args:
        case: The graph and inputs of the call.
        graph: The same graph with noise inputs.
        budgets: The sharp budget of each value.
        reverse: The noise on gradients; None for a forward call.
    """

    case: Case
    graph: Graph
    budgets: dict[str, ValueNoise]
    reverse: ReverseNoise | None


@dataclass
class RecordingRunner:
    """Runs the float64 reference and records the sharp budgets of every call.

    Args:
        case: The network, its arrays, and the precision policy whose rounding errors are modelled.
        calls: The recorded calls, in their order.
    """

    case: Case
    calls: list[_Noisy] = field(default_factory=list)

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays) -> Mapping[str, Array]:
        call = self._noted(graph, batch)
        self.calls.append(call)
        return reference().subject.forward(call.case.lowered, call.case.stored, batch, reference_options()).outputs

    def gradient(self, graph: Graph, arrays: HostArrays, batch: HostArrays) -> Mapping[str, Array]:
        call = self._noted(graph, batch)
        reverse = ReverseNoise(self.case.policy, None)
        quiet = {item.name: np.zeros(item.full_shape(call.case.size)) for item in call.graph.inputs}
        with reverse.recording() as subject:
            found = subject.gradient(call.graph, call.case.stored, {**quiet, **batch}, reference_options())
        self.calls.append(call._replace(reverse=reverse))
        return found.inputs

    def _noted(self, graph: Graph, batch: HostArrays) -> _Noisy:
        inputs = {item.name: np.asarray(batch[item.name]) for item in graph.inputs}
        case = Case(graph, self.case.arrays, inputs, self.case.options, seed=self.case.seed + len(self.calls))
        budgets: dict[str, ValueNoise] = {}
        for visit in walk(case, training=False):
            found = visit_budgets(case.lowered, visit)
            budgets |= {value: size for value, size in found.items() if noise_input(case.lowered, value) is not None}
        return _Noisy(case, with_noise(case.lowered, list(budgets)), budgets, None)


@dataclass
class PerturbedRunner:
    """Repeats the recorded calls in the same order, with noise within +- their sharp budgets.

    Args:
        recorded: The runner that recorded the calls.
        run: Number of the perturbed run, which seeds the noise.
    """

    recorded: RecordingRunner
    run: int
    position: int = 0

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays) -> Mapping[str, Array]:
        call, noisy = self._next(batch)
        options = reference_options(name=perturbed_precision(call.case))
        return reference().subject.forward(call.graph, arrays, noisy, options).outputs

    def gradient(self, graph: Graph, arrays: HostArrays, batch: HostArrays) -> Mapping[str, Array]:
        call, noisy = self._next(batch)
        options = reference_options(name=perturbed_precision(call.case))
        assert call.reverse is not None
        with call.reverse.perturbed(stream(call.case.seed, f"reverse noise {self.run}")) as subject:
            return subject.gradient(call.graph, arrays, noisy, options).inputs

    def _next(self, batch: HostArrays) -> tuple[_Noisy, dict[str, Array]]:
        call = self.recorded.calls[self.position]
        self.position += 1
        return call, {**all_to_storage(batch, call.case.policy), **noise(call.case, call.budgets, self.run)}


@dataclass(frozen=True)
class ViewTruth:
    """The reference's view, and how far a backend's may lie from it.

    Args:
        exact: The compared arrays in float64, by name.
        envelope: The envelope of these arrays, from perturbed runs.
        policy: The precision policy of the backends.
    """

    exact: Mapping[str, Array]
    envelope: Envelope
    policy: PrecisionPolicy

    def used(self, found: ViewResult) -> dict[str, float]:
        """The share of the envelope that each compared array uses; infinite where it has another shape or NaN."""
        got = {name: np.asarray(found.arrays[name]) for name in self.exact}
        wrong = [n for n, x in self.exact.items() if got[n].shape != x.shape or not np.isfinite(got[n]).all()]
        if wrong:
            return dict.fromkeys(self.exact, 0.0) | dict.fromkeys(wrong, np.inf)
        return self.envelope.used(largest_differences(got, self.exact))


def view_truth(view: NetworkView, network: ViewedNetwork, request: ViewRequest, case: Case) -> ViewTruth | None:
    """Computes the reference's view with its envelope; None for a view without compared arrays.

    Args:
        view: The view.
        network: The network that is viewed.
        request: The images, classes and settings.
        case: The network with its images and the backends' program options.
    """
    recorder = RecordingRunner(case)
    exact = _compared(view, ViewedNetwork(network.graph, case.stored, recorder), request)
    if not exact:
        return None
    runs = []
    for run in range(num_runs(case)):
        moved = ViewedNetwork(network.graph, one_rounding(case, run), PerturbedRunner(recorder, run))
        runs.append(largest_differences(_compared(view, moved, request), exact))
    envelope = calibrate(runs, rounding_floor(exact, case), largest(exact))
    return ViewTruth(exact, envelope, case.policy)


def _compared(view: NetworkView, network: ViewedNetwork, request: ViewRequest) -> dict[str, Array]:
    found = view(network, request)
    return {name: np.asarray(found.arrays[name], np.float64) for name in found.compared}
