"""The ONNX Runtime backend: its threads and session options, and the compilation of programs."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import onnxruntime

from cnnbench.errors import UnavailableError
from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.execution.contract import Backend, Capabilities, ProcessSettings, ProgramOptions
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operations import Operations
from cnnbench.execution.own_forward import OwnForward
from cnnbench.execution.own_program import OwnProgram
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import Optimizer
from cnnbench_onnxruntime.native import FileRunner, file_digest
from cnnbench_onnxruntime.offered import DEVICES, INFERENCE_ONLY, LAYOUTS, MODES, PRECISIONS, PROVIDER
from cnnbench_onnxruntime.ops import OPERATIONS
from cnnbench_onnxruntime.programs import OnnxRuntimeForward

ERRORS_ONLY = 3  # warnings tell of initializers that an optimisation made superfluous


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime on the host: mode ``optimized`` with all graph optimisations, ``plain`` with none."""

    name: ClassVar[str] = "onnxruntime"

    def __init__(self) -> None:
        self.operations = Operations("onnxruntime", OPERATIONS)
        onnxruntime.set_default_logger_severity(ERRORS_ONLY)
        self._threads = 0  # ONNX Runtime's own choice

    def capabilities(self) -> Capabilities:
        return Capabilities(
            modes=MODES,
            precisions=dict.fromkeys(MODES, PRECISIONS),
            devices=DEVICES,
            kinds=self.operations.kinds,
            gaps=self.operations.gaps,
        )

    def configure(self, settings: ProcessSettings) -> None:
        if settings.device != "cpu":
            raise UnavailableError("the device is not supported", received=settings.device, expected="cpu")
        self._threads = settings.threads or 0

    def describe(self) -> dict[str, str]:
        options = self._session_options("optimized")
        return {
            "version": onnxruntime.__version__,
            "build": onnxruntime.get_build_info(),
            "provider": PROVIDER,
            "intra_op_threads": str(options.intra_op_num_threads or "its own choice"),
            "inter_op_threads": str(options.inter_op_num_threads),
            "execution_mode": options.execution_mode.name,
            "spinning": options.get_session_config_entry("session.intra_op.allow_spinning"),
            "memory_arena": str(options.enable_cpu_mem_arena),
        }

    def compile_forward(self, graph: Graph, options: ProgramOptions) -> ForwardProgram:
        if options.own is not None:
            return OwnForward(graph, options, partial(self._own_session, options.own))
        options.require(self.name, modes=MODES, precisions=PRECISIONS, layouts=LAYOUTS)
        if options.training:
            raise UnavailableError(INFERENCE_ONLY, where=graph.name, remedy="run training passes on another backend")
        bound = BoundGraph.of(graph, self.operations, options, channels_last=False)
        return OnnxRuntimeForward(bound, partial(self._session_options, options.mode))

    def compile_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None = None) -> GradientProgram:
        raise UnavailableError(f"{INFERENCE_ONLY}: there are no gradients", where=graph.name)

    def compile_step(self, graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        raise UnavailableError(f"{INFERENCE_ONLY}: there is no training", where=graph.name)

    def synchronize(self, value: Any = None) -> None:
        """Nothing to wait for: ``run`` of a session returns when its results are there."""

    def _own_session(self, own: OwnProgram) -> tuple[str, FileRunner]:
        """A user's file: its digest, and the session that runs it."""
        return file_digest(own.place), FileRunner(own, self._session_options(own.mode))

    def _session_options(self, mode: str) -> Any:
        levels = onnxruntime.GraphOptimizationLevel
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = {"optimized": levels.ORT_ENABLE_ALL, "plain": levels.ORT_DISABLE_ALL}[mode]
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1  # a network is run one node after the other
        options.log_severity_level = ERRORS_ONLY
        # Threads sleep where they wait, as in all workers: one that spins takes time from its neighbours.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options
