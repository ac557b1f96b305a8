"""The backend: what it can do, and the three sorts of program that it compiles."""

from __future__ import annotations

from typing import ClassVar

import numpy
import scipy

from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import Backend, Capabilities, ProcessSettings
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operations import Operations
from cnnbench_indexed.offered import LAYOUTS, MODES, PRECISIONS
from cnnbench_indexed.ops import OPERATIONS
from cnnbench_indexed.programs import IndexedForward, IndexedGradient, IndexedStep


class IndexedBackend(Backend):
    """Arrays of NumPy, images channels-first."""

    name: ClassVar[str] = "indexed"

    def __init__(self) -> None:
        self.operations = Operations("indexed", OPERATIONS)

    def capabilities(self) -> Capabilities:
        kinds = self.operations.kinds
        return Capabilities(MODES, dict.fromkeys(MODES, PRECISIONS), ("cpu",), kinds, self.operations.gaps)

    def configure(self, settings: ProcessSettings) -> None:
        if settings.device != "cpu":
            raise UnavailableError("backend 'indexed' runs on the processor only", received=settings.device)

    def describe(self) -> dict[str, str]:
        return {"numpy": numpy.__version__, "scipy": scipy.__version__}

    def compile_forward(self, graph, options):
        return IndexedForward(self._bind(graph, options, gradient=False), options)

    def compile_gradient(self, graph, options, loss=None):
        return IndexedGradient(self._bind(graph, options), options, loss)

    def compile_step(self, graph, options, loss, optimizer):
        return IndexedStep(self._bind(graph, options), options, loss, optimizer)

    def synchronize(self, value=None) -> None:
        """Nothing to wait for."""

    def _bind(self, graph, options, *, gradient=True) -> BoundGraph:
        options.require("indexed", modes=MODES, precisions=PRECISIONS, layouts=LAYOUTS)
        return BoundGraph.of(graph, self.operations, options, channels_last=False, gradient=gradient)
