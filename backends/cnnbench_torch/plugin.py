"""Tells of the PyTorch backend without importing PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, BackendPlugin

_PRECISIONS = ("float32", "float64", "bfloat16", "float16", "tf32")


def _load() -> Backend:
    from cnnbench_torch.backend import TorchBackend

    return TorchBackend()


@hookimpl
def cnnbench_backends() -> Sequence[BackendPlugin]:
    """PyTorch, eager and compiled."""
    from cnnbench.execution.contract import BackendPlugin

    return [
        BackendPlugin(
            name="torch",
            requires=("torch",),
            load=_load,
            modes=("eager", "compile"),
            precisions={"eager": _PRECISIONS, "compile": _PRECISIONS},
            devices=("cpu", "cuda"),
            layouts=("channels_first", "channels_last"),
            colour="#ee4c2c",
            distribution="torch",
        )
    ]
