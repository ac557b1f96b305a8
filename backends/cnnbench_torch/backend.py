"""The PyTorch backend: device, threads, arithmetic flags, compilation, synchronisation."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

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
from cnnbench_torch.arrays import DTYPES, TorchPlacement
from cnnbench_torch.losses import LOSSES
from cnnbench_torch.offered import LAYOUTS, MODES, PRECISIONS
from cnnbench_torch.ops import OPERATIONS
from cnnbench_torch.ops.regularization import native_dropout
from cnnbench_torch.programs import TorchForward, TorchGradient, TorchSetting, TorchStep
from cnnbench_torch.walk import make_walk


class TorchBackend(Backend):
    """PyTorch on the host's processors or a CUDA device."""

    name = "torch"

    def __init__(self) -> None:
        self.operations = Operations("torch", OPERATIONS)
        self._device = torch.device("cpu")
        self._native_randomness = False

    def capabilities(self) -> Capabilities:
        cuda = torch.cuda.is_available()
        return Capabilities(
            modes=MODES,
            precisions=dict.fromkeys(MODES, _precisions(cuda=cuda)),
            devices=("cpu", "cuda") if cuda else ("cpu",),
            kinds=self.operations.kinds,
            gaps=self.operations.gaps,
        )

    def configure(self, settings: ProcessSettings) -> None:
        if Device.read(settings.device).kind not in ("cpu", "cuda"):
            raise UnavailableError("the device is not supported", received=settings.device, expected="cpu or cuda")
        device = torch.device(settings.device)
        if device.type == "cuda":
            if not torch.cuda.is_available():
                raise UnavailableError("PyTorch sees no CUDA device", received=settings.device, expected="cpu")
            if (device.index or 0) >= torch.cuda.device_count():
                raise UnavailableError(
                    "there is no such device", received=settings.device, expected=f"{torch.cuda.device_count()} devices"
                )
            torch.cuda.set_device(device)
            torch.backends.cudnn.benchmark = True  # shapes are fixed: what a skilled user sets
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self._device = device
        self._native_randomness = settings.native_randomness

    def describe(self) -> dict[str, str]:
        facts = {
            "version": torch.__version__,
            "git": torch.version.git_version or "",
            "device": str(self._device),
            "threads": str(torch.get_num_threads()),
            "interop_threads": str(torch.get_num_interop_threads()),
            "mkldnn": str(torch.backends.mkldnn.is_available()),
            "mkl": str(torch.backends.mkl.is_available()),
            "openmp": str(torch.backends.openmp.is_available()),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "native_randomness": str(self._native_randomness),
        }
        if self._device.type == "cuda":
            facts |= {
                "device_name": torch.cuda.get_device_name(self._device),
                "cuda": torch.version.cuda or "",
                "cudnn": str(torch.backends.cudnn.version()),
                "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
                "allow_tf32": str(torch.backends.cudnn.allow_tf32),
            }
        return facts

    def compile_forward(self, graph: Graph, options: ProgramOptions) -> ForwardProgram:
        if options.own is not None:
            return own_forward(graph, options, options.own, (self.name, str(self._device)))
        return TorchForward(self._setting(graph, options, gradient=False))

    def compile_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None = None) -> GradientProgram:
        return TorchGradient(self._setting(graph, options, loss))

    def compile_step(self, graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> StepProgram:
        return TorchStep(self._setting(graph, options, loss), optimizer)

    def synchronize(self, value: Any = None) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def device_peak_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    def reset_device_peak(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def _setting(
        self, graph: Graph, options: ProgramOptions, loss: Loss | None = None, *, gradient: bool = True
    ) -> TorchSetting:
        precisions = _precisions(cuda=self._device.type == "cuda")
        options.require(self.name, modes=MODES, precisions=precisions, layouts=LAYOUTS)
        operations, native = self.operations, self._native_randomness
        if native and "dropout" in operations:
            operations = operations.replace("dropout", Operation(native_dropout))
        bound = BoundGraph.of(graph, operations, options, channels_last=False, gradient=gradient)
        function = LOSSES.bind(loss, graph, self.operations, options)
        return TorchSetting(
            bound=bound,
            reader=BatchReader(bound, loss, cotangents=gradient and loss is None, masks=not native),
            placement=TorchPlacement(self._device, DTYPES[options.precision.storage], self._channels_last(options)),
            walk=make_walk(bound.program, options.mode, function),
            eager=options.mode == "eager",
            before_run=partial(set_arithmetic, options.precision.name, self._device.type),
        )

    def _channels_last(self, options: ProgramOptions) -> bool:
        """The host's kernels mostly like channels last; a GPU's do where its matrix units compute."""
        if options.layout != "auto":
            return options.layout == "channels_last"
        return self._device.type == "cpu" or options.precision.name in ("tf32", "bfloat16", "float16")


def _precisions(*, cuda: bool) -> tuple[str, ...]:
    """TF32 is an arithmetic of GPUs."""
    return PRECISIONS if cuda else tuple(name for name in PRECISIONS if name != "tf32")


_arithmetic: tuple[str, str] | None = None


def set_arithmetic(policy: str, device: str) -> None:
    """Sets the process-wide flags of a policy: TF32 only where it is asked for, wide accumulators always."""
    global _arithmetic
    if device != "cuda" or _arithmetic == (policy, device):
        return
    allowed = policy == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    _arithmetic = (policy, device)
