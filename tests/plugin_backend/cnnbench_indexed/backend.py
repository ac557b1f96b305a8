"""The backend: what it can do, and the three sorts of program that it compiles."""

from __future__ import annotations

from typing import ClassVar

import numpy
import scipy

from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import Backend, Capabilities, ProcessSettings
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operations import Operations
from cnnbench_indexed.ops import operations
from cnnbench_indexed.plugin import MODES, PRECISIONS
from cnnbench_indexed.programs import Forward, Gradient, Step


class IndexedBackend(Backend):
    """Arrays of NumPy, images channels-first."""

    name: ClassVar[str] = "indexed"

    def __init__(self) -> None:
        self._operations = operations()

    @property
    def operations(self) -> Operations:
        return self._operations

    @operations.setter
    def operations(self, value: Operations) -> None:
        self._operations = value

    def capabilities(self) -> Capabilities:
        kinds = frozenset(self._operations) - {"layout_change"}
        return Capabilities(MODES, dict.fromkeys(MODES, PRECISIONS), ("cpu",), kinds, self._operations.gaps)

    def configure(self, settings: ProcessSettings) -> None:
        if settings.device != "cpu":
            raise UnavailableError("backend 'indexed' runs on the processor only", received=settings.device)

    def describe(self) -> dict[str, str]:
        return {"numpy": numpy.__version__, "scipy": scipy.__version__}

    def compile_forward(self, graph, options):
        return Forward(self._bind(graph, options, fold=options.fold_batch_norm, gradient=False), options)

    def compile_gradient(self, graph, options, loss=None):
        return Gradient(self._bind(graph, options), options, loss)

    def compile_step(self, graph, options, loss, optimizer):
        return Step(self._bind(graph, options), options, loss, optimizer)

    def synchronize(self, value=None) -> None:
        """Nothing to wait for."""

    def _bind(self, graph, options, *, fold=False, gradient=True) -> BoundGraph:
        if options.mode not in MODES or options.precision.name not in PRECISIONS:
            raise UnavailableError(
                "not a mode and precision of 'indexed'", received=(options.mode, options.precision.name)
            )
        return BoundGraph.of(graph, self._operations, options, channels_last=False, fold=fold, gradient=gradient)
