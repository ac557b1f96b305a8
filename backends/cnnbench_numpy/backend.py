"""The NumPy backend: compiles graphs to bound walks over NumPy ops."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import numpy as np

from cnnbench.errors import UnavailableError
from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.execution.contract import Backend, Capabilities, ProcessSettings, ProgramOptions
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.losses import main_output
from cnnbench.execution.operands import BatchReader
from cnnbench.execution.operations import Operations
from cnnbench.execution.winograd import may_run
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import Optimizer
from cnnbench_numpy import blas
from cnnbench_numpy.fast.ops import FAST
from cnnbench_numpy.fast.plan import FloatArithmetic
from cnnbench_numpy.fast.team import set_team, team
from cnnbench_numpy.losses import loss_function
from cnnbench_numpy.offered import DEVICES, LAYOUTS, MODES, PRECISIONS
from cnnbench_numpy.ops import REFERENCE
from cnnbench_numpy.programs import NumpyFastForward, NumpyForward, NumpyGradient, NumpySetting, NumpyStep


class NumpyBackend(Backend):
    """NumPy on the host.

    Mode ``reference`` runs every op as its definition reads, channels-first unless the options say otherwise, and on
    one thread, so that its bits do not depend on how many there are.

    Mode ``fast`` runs channels-last unless they say otherwise, with ops and kernels of its own for the costly kinds;
    a kind whose op in ``operations`` was replaced runs that op in both modes.
    """

    name: ClassVar[str] = "numpy"

    def __init__(self) -> None:
        self.operations = Operations("numpy", REFERENCE)
        self.operations.lacks(
            "conv",
            "by Winograd, a NaN or an infinity reaches all outputs of its tile",
            precisions=("float32-winograd",),
            modes=("fast",),
            condition="3x3 windows of stride 1",
            when=may_run,
            special_values="always",
        )

    def capabilities(self) -> Capabilities:
        operations = self.operations
        return Capabilities(MODES, PRECISIONS, DEVICES, operations.kinds, operations.gaps)

    def configure(self, settings: ProcessSettings) -> None:
        """Sets the threads of the fast mode's team, and of NumPy's OpenBLAS outside of programs.

        A BLAS of another make obeys only its own environment variables; the team is then one thread.
        """
        if settings.device != "cpu":
            raise UnavailableError("backend 'numpy' runs on the processor only", received=settings.device)
        functions = blas.threads()
        if settings.threads is not None and functions is not None:
            functions.set(settings.threads)
        if settings.threads is not None:
            set_team(settings.threads)

    def describe(self) -> dict[str, str]:
        config: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
        build = config.get("Build Dependencies", {}).get("blas", {})
        functions = blas.threads()
        return {
            "numpy": np.__version__,
            "blas": f"{build.get('name', 'unknown')} {build.get('version', '')}".strip(),
            "blas_threads": str(functions.get()) if functions else os.environ.get("OMP_NUM_THREADS", "unknown"),
            "team_threads": str(team().size),
            "simd": " ".join(config.get("SIMD Extensions", {}).get("found", [])),
        }

    def compile_forward(self, graph: Graph, options: ProgramOptions) -> ForwardProgram:
        setting = self._setting(graph, options, gradient=False)
        if options.mode == "fast" and not options.training:
            return NumpyFastForward(setting, FAST)
        return NumpyForward(setting)

    def compile_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None = None) -> GradientProgram:
        return NumpyGradient(self._setting(graph, options, loss))

    def compile_step(self, graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        return NumpyStep(self._setting(graph, options, loss), optimizer)

    def synchronize(self, value: Any = None) -> None:
        """Nothing to wait for: NumPy returns when it is done."""

    def _setting(
        self, graph: Graph, options: ProgramOptions, loss: Loss | None = None, *, gradient: bool = True
    ) -> NumpySetting:
        options.require(self.name, modes=MODES, precisions=PRECISIONS.get(options.mode, ()), layouts=LAYOUTS)
        fast = options.mode == "fast"
        last = options.layout == "channels_last" or (fast and options.layout == "auto")
        operations = self.operations.specialized(REFERENCE, FAST) if fast else self.operations
        bound = BoundGraph.of(graph, operations, options, channels_last=last, gradient=gradient)
        reader = BatchReader(bound, loss, cotangents=gradient and loss is None)
        function = None if loss is None else loss_function(loss, main_output(graph), options)
        policy = options.precision
        return NumpySetting(bound, reader, function, FloatArithmetic(np.dtype(policy.storage), policy.winograd))
