"""The JAX backend: device, dtypes, compilation, synchronisation."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jaxlib
import ml_dtypes
import numpy as np
import optax

from cnnbench.errors import UnavailableError
from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.execution.contract import Backend, Capabilities, Device, ProcessSettings, ProgramOptions
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operands import BatchReader
from cnnbench.execution.operations import Operation, Operations
from cnnbench.execution.own_forward import own_forward
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import Loss
from cnnbench.spec.optimizers import Optimizer
from cnnbench_jax.arrays import JaxPlacement
from cnnbench_jax.losses import LOSSES
from cnnbench_jax.offered import LAYOUTS, MODES, PRECISIONS
from cnnbench_jax.ops import OPERATIONS
from cnnbench_jax.ops.regularization import native_dropout
from cnnbench_jax.programs import JaxForward, JaxGradient, JaxStep
from cnnbench_jax.tracing import JaxSetting, Latest

DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}

# A GPU's memory is taken as it is needed, so that several workers can share it; read when JAX first uses a device.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


class JaxBackend(Backend):
    """JAX on the host's processors or a CUDA device.

    XLA's pool on the host takes its size from the processors that the process may use when JAX first runs: the
    number of threads is set by affinity before that, and only reported here.
    """

    name = "jax"

    def __init__(self) -> None:
        self.operations = Operations("jax", OPERATIONS)
        self._device: jax.Device | None = None
        self._native_randomness = False
        self._latest = Latest()

    @property
    def device(self) -> jax.Device:
        """The device in use; the host until ``configure`` says otherwise."""
        if self._device is None:
            self._device = jax.devices("cpu")[0]
            jax.config.update("jax_default_device", self._device)
        return self._device

    def capabilities(self) -> Capabilities:
        return Capabilities(
            modes=MODES,
            precisions=dict.fromkeys(MODES, PRECISIONS),
            devices=("cpu", "cuda") if _devices("cuda") else ("cpu",),
            kinds=self.operations.kinds,
            gaps=self.operations.gaps,
        )

    def configure(self, settings: ProcessSettings) -> None:
        kind, index = Device.read(settings.device)
        if kind not in ("cpu", "cuda"):
            raise UnavailableError("the device is not supported", received=settings.device, expected="cpu or cuda")
        devices = _devices(kind)
        if index >= len(devices):
            raise UnavailableError(
                "JAX sees no such device", received=settings.device, expected=", ".join(map(str, jax.devices()))
            )
        self._device = devices[index]
        jax.config.update("jax_default_device", self._device)
        self._native_randomness = settings.native_randomness

    def describe(self) -> dict[str, str]:
        facts = {
            "version": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "optax": optax.__version__,
            "device": str(self.device),
            "device_name": self.device.device_kind,
            "platform_version": self.device.client.platform_version.partition("\n")[0],
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "x64": "only within float64 programs",
            "native_randomness": str(self._native_randomness),
        }
        if hasattr(os, "sched_getaffinity"):
            facts["processors"] = str(len(os.sched_getaffinity(0)))
        return facts | _observed_pools()

    def compile_forward(self, graph: Graph, options: ProgramOptions) -> ForwardProgram:
        if options.own is not None:
            return own_forward(graph, options, options.own, (self.name, f"{self.device.platform}:{self.device.id}"))
        return JaxForward(self._setting(graph, options, gradient=False))

    def compile_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None = None) -> GradientProgram:
        return JaxGradient(self._setting(graph, options, loss))

    def compile_step(self, graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        return JaxStep(self._setting(graph, options, loss), optimizer)

    def synchronize(self, value: Any = None) -> None:
        jax.block_until_ready(self._latest.value if value is None else value)

    def device_peak_bytes(self) -> int | None:
        if self.device.platform == "cpu":
            return None
        statistics = self.device.memory_stats() or {}
        return statistics.get("peak_bytes_in_use")

    def _setting(
        self, graph: Graph, options: ProgramOptions, loss: Loss | None = None, *, gradient: bool = True
    ) -> JaxSetting:
        options.require(self.name, modes=MODES, precisions=PRECISIONS, layouts=LAYOUTS)
        device = self.device
        operations, native = self.operations, self._native_randomness
        if native and "dropout" in operations:
            operations = operations.replace("dropout", Operation(native_dropout))
        # XLA's host convolutions are written for channels-last images: 1.1 to 4.6 times as fast.
        last = options.layout != "channels_first"
        bound = BoundGraph.of(graph, operations, options, channels_last=last, gradient=gradient)
        reader = BatchReader(bound, loss, cotangents=gradient and loss is None, masks=not native)
        function = LOSSES.bind(loss, graph, self.operations, options)
        placement = JaxPlacement(device, DTYPES[options.precision.storage])
        return JaxSetting(bound, reader, function, placement, self._latest)


def _devices(kind: str) -> list[jax.Device]:
    try:
        return list(jax.devices(kind))
    except RuntimeError:  # JAX's word for "no such platform"
        return []


def _observed_pools() -> dict[str, str]:
    """The threads of this process whose names say that they are XLA's, by pool, where the kernel tells."""
    pools: Counter[str] = Counter()
    for path in Path("/proc/self/task").glob("*/comm"):
        try:
            name = path.read_text(encoding="utf-8").strip()
        except OSError:  # the thread ended meanwhile
            continue
        if "XLA" in name or name.startswith("tf_"):
            pools[name.partition("/")[0]] += 1
    return {f"threads_{name}": str(count) for name, count in sorted(pools.items())}
