"""TensorFlow as a backend: threads, device, memory, and compilation to functions."""

from __future__ import annotations

import os
import platform
import re
from typing import Any, ClassVar

from cnnbench.errors import UnavailableError, did_you_mean
from cnnbench.execution.contract import Backend, Capabilities, ProcessSettings, ProgramOptions
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.losses import main_output
from cnnbench.execution.operations import Operations
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import Optimizer
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.losses import LossFunction, loss_function
from cnnbench_tensorflow.ops import for_xla, operations
from cnnbench_tensorflow.plugin import PLUGIN
from cnnbench_tensorflow.programs import Forward, Gradient, Setting, Training

DEVICE = re.compile(r"(cpu|cuda)(?::(\d+))?")


class TensorFlowBackend(Backend):
    """TensorFlow under ``tf.function``: mode ``graph`` by its executor, ``xla`` compiled by XLA."""

    name: ClassVar[str] = "tensorflow"

    def __init__(self) -> None:
        self._operations = operations()
        self._settings = ProcessSettings()

    @property
    def operations(self) -> Operations:
        return self._operations

    @operations.setter
    def operations(self, value: Operations) -> None:
        self._operations = value

    def capabilities(self) -> Capabilities:
        return Capabilities(
            modes=PLUGIN.modes,
            precisions=PLUGIN.precisions,
            devices=("cpu", "cuda") if tf.config.list_physical_devices("GPU") else ("cpu",),
            kinds=frozenset(self._operations) - {"layout_change"},
            gaps=self._operations.gaps,
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
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
            "tf32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
            "cuda_build": str(build.get("cuda_version", "none")),
            "devices": ", ".join(device.name for device in tf.config.list_logical_devices()),
            "native_randomness": str(self._settings.native_randomness),
        }

    def compile_forward(self, graph: Graph, options: ProgramOptions) -> Forward:
        return Forward(self._bind(graph, options, fold=options.fold_batch_norm, gradient=False), self._setting(options))

    def compile_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None = None) -> Gradient:
        function = None if loss is None else self._loss(graph, options, loss)
        return Gradient(self._bind(graph, options), self._setting(options), loss, function)

    def compile_step(self, graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> Training:
        function = self._loss(graph, options, loss)
        return Training(self._bind(graph, options), self._setting(options), loss, function, optimizer)

    def _loss(self, graph: Graph, options: ProgramOptions, loss: Loss) -> LossFunction:
        return loss_function(loss, main_output(graph), self._operations, options)

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

    def _bind(self, graph: Graph, options: ProgramOptions, *, fold: bool = False, gradient: bool = True) -> BoundGraph:
        operations = for_xla(self._operations) if options.mode == "xla" else self._operations
        return BoundGraph.of(graph, operations, options, channels_last=True, fold=fold, gradient=gradient)

    def _setting(self, options: ProgramOptions) -> Setting:
        if options.layout not in PLUGIN.layouts:
            raise UnavailableError(
                "TensorFlow's CPU kernels hold images channels-last",
                received=f"layout={options.layout}",
                expected=" or ".join(PLUGIN.layouts),
            )
        if options.mode not in PLUGIN.modes:
            raise UnavailableError(
                f"backend 'tensorflow' has no mode {options.mode!r}", remedy=did_you_mean(options.mode, PLUGIN.modes)
            )
        known = PLUGIN.precisions[options.mode]
        if options.precision.name not in known:
            raise UnavailableError(
                f"backend 'tensorflow' has no precision {options.precision.name!r} in mode {options.mode!r}",
                remedy=did_you_mean(options.precision.name, known),
            )
        return Setting(options.mode == "xla", options.precision.storage, self._settings.native_randomness)


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
