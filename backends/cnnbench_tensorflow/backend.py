"""TensorFlow as a backend: threads, device, memory, and compilation to functions."""

from __future__ import annotations

import platform
import re
from typing import Any, ClassVar

from cnnbench.errors import UnavailableError
from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.execution.contract import Backend, Capabilities, ProcessSettings, ProgramOptions
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operands import BatchReader
from cnnbench.execution.operations import Operations
from cnnbench.execution.own_forward import own_forward
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import Optimizer
from cnnbench_tensorflow.framework import ONEDNN, tf
from cnnbench_tensorflow.losses import LOSSES
from cnnbench_tensorflow.offered import LAYOUTS, MODES, PRECISIONS
from cnnbench_tensorflow.ops import OPERATIONS, XLA
from cnnbench_tensorflow.programs import (
    TensorFlowForward,
    TensorFlowGradient,
    TensorFlowSetting,
    TensorFlowStep,
)

DEVICE = re.compile(r"(cpu|cuda)(?::(\d+))?")


class TensorFlowBackend(Backend):
    """TensorFlow under ``tf.function``: mode ``graph`` by its executor, ``xla`` compiled by XLA."""

    name: ClassVar[str] = "tensorflow"

    def __init__(self) -> None:
        self.operations = Operations("tensorflow", OPERATIONS)
        self._settings = ProcessSettings()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            modes=MODES,
            precisions=dict.fromkeys(MODES, PRECISIONS),
            devices=("cpu", "cuda") if tf.config.list_physical_devices("GPU") else ("cpu",),
            kinds=self.operations.kinds,
            gaps=self.operations.gaps,
        )

    def configure(self, settings: ProcessSettings) -> None:
        """Sets threads and device. TensorFlow takes them only before its first operation.

        Raises UnavailableError for a device that is not here, or where TensorFlow has already started otherwise.
        """
        try:
            _choose_device(settings.device)
            if settings.threads is not None:
                tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
                tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
        except RuntimeError as error:
            raise UnavailableError(
                "TensorFlow has already started with other settings",
                received=f"threads={settings.threads}, device={settings.device}",
                remedy=f"configure a new process ({error})",
            ) from None
        self._settings = settings

    def describe(self) -> dict[str, str]:
        build = tf.sysconfig.get_build_info()
        return {
            "version": tf.__version__,
            "python": platform.python_version(),
            "intra_op_threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
            "onednn": "on" if ONEDNN else "off",
            "tf32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
            "cuda_build": str(build.get("cuda_version", "none")),
            "devices": ", ".join(device.name for device in tf.config.list_logical_devices()),
            "native_randomness": str(self._settings.native_randomness),
        }

    def compile_forward(self, graph: Graph, options: ProgramOptions) -> ForwardProgram:
        if options.own is not None:
            return own_forward(graph, options, options.own, (self.name, self._settings.device))
        return TensorFlowForward(self._setting(graph, options, gradient=False))

    def compile_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None = None) -> GradientProgram:
        return TensorFlowGradient(self._setting(graph, options, loss))

    def compile_step(self, graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        return TensorFlowStep(self._setting(graph, options, loss), optimizer)

    def synchronize(self, value: Any = None) -> None:
        # On the host a function call returns when its results are there; a GPU's queue outlives the call.
        if self._settings.device != "cpu":
            tf.test.experimental.sync_devices()

    def device_peak_bytes(self) -> int | None:
        if self._settings.device == "cpu":
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])

    def reset_device_peak(self) -> None:
        if self._settings.device != "cpu":
            tf.config.experimental.reset_memory_stats("GPU:0")

    def _setting(
        self, graph: Graph, options: ProgramOptions, loss: Loss | None = None, *, gradient: bool = True
    ) -> TensorFlowSetting:
        options.require(self.name, modes=MODES, precisions=PRECISIONS, layouts=LAYOUTS)
        xla, native = options.mode == "xla", self._settings.native_randomness
        operations = self.operations.specialized(OPERATIONS, XLA) if xla else self.operations
        bound = BoundGraph.of(graph, operations, options, channels_last=True, gradient=gradient)
        reader = BatchReader(bound, loss, cotangents=gradient and loss is None, masks=not native)
        function = LOSSES.bind(loss, graph, self.operations, options)
        return TensorFlowSetting(bound, reader, function, tf.as_dtype(options.precision.storage), xla)


def _choose_device(device: str) -> None:
    """Makes one device visible; memory of a GPU grows as it is needed."""
    match = DEVICE.fullmatch(device)
    if match is None:
        raise UnavailableError(f"unknown device {device!r}", expected="cpu, cuda or cuda:1")
    gpus = tf.config.list_physical_devices("GPU")
    if match[1] == "cpu":
        if gpus:
            tf.config.set_visible_devices([], "GPU")
        return
    index = int(match[2] or 0)
    if index >= len(gpus):
        raise UnavailableError(f"device {device!r} is not here", received=f"{len(gpus)} GPUs that TensorFlow can use")
    tf.config.set_visible_devices([gpus[index]], "GPU")
    tf.config.experimental.set_memory_growth(gpus[index], True)
