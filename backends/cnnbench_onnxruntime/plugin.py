"""Registers the ONNX Runtime backend without importing ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.hookspecs import hookimpl
from cnnbench_onnxruntime.offered import DEVICES, LAYOUTS, MODES, NATIVE_MODES, PRECISIONS

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, BackendPlugin


NAME = "onnxruntime"


def _load() -> Backend:
    from cnnbench_onnxruntime.backend import OnnxRuntimeBackend

    return OnnxRuntimeBackend()


@hookimpl
def cnnbench_backends() -> Sequence[BackendPlugin]:
    """ONNX Runtime, with and without its graph optimisations."""
    from cnnbench.execution.contract import BackendPlugin

    return [
        BackendPlugin(
            name=NAME,
            requires=(NAME, "onnx"),
            load=_load,
            modes=MODES,
            precisions=dict.fromkeys((*MODES, *NATIVE_MODES), PRECISIONS),
            devices=DEVICES,
            layouts=LAYOUTS,
            colour="#5c2d91",
            distribution=NAME,
            trains=False,
            native_modes=NATIVE_MODES,
        )
    ]
