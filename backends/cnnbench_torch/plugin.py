"""Tells of the PyTorch backend without importing PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.hookspecs import hookimpl
from cnnbench_torch.offered import DEVICES, LAYOUTS, MODES, NATIVE_MODES, PRECISIONS

if TYPE_CHECKING:
    from pathlib import Path

    from cnnbench.execution.contract import Backend, BackendPlugin
    from cnnbench.spec.interchange.model_readers import ModelCode, ModelReader
    from cnnbench.spec.interchange.weight_readers import WeightReader

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".tar.gz", ".tgz", ".bin.index.json", ".pth.index.json")


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
            modes=MODES,
            precisions=dict.fromkeys((*MODES, *NATIVE_MODES), PRECISIONS),
            devices=DEVICES,
            layouts=LAYOUTS,
            colour="#ee4c2c",
            distribution="torch",
            native_modes=NATIVE_MODES,
        )
    ]


def _read(path: Path) -> dict[str, Any]:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        from cnnbench.errors import UnavailableError

        raise UnavailableError(
            "PyTorch's checkpoints are read by PyTorch, which is not installed",
            where=str(path),
            remedy="pip install 'cnnbench[torch]', or convert the file to safetensors",
        )
    from cnnbench.spec.interchange.sharded_weights import INDEX, read_sharded
    from cnnbench_torch.checkpoints import read_checkpoint

    return read_sharded(path, read_checkpoint) if path.name.lower().endswith(INDEX) else read_checkpoint(path)


@hookimpl
def cnnbench_weight_readers() -> Sequence[WeightReader]:
    """State dicts as ``torch.save`` writes them, under all names that they are given."""
    from cnnbench.spec.interchange.weight_readers import WeightReader

    return (WeightReader("PyTorch checkpoint", SUFFIXES, _read),)


def _is_module(model: Any) -> bool:
    torch = sys.modules.get("torch")  # without PyTorch nothing can be a module of it
    return torch is not None and isinstance(model, torch.nn.Module | torch.export.ExportedProgram)


def _code() -> ModelCode:
    from cnnbench_torch import models

    return models


@hookimpl
def cnnbench_model_readers() -> Sequence[ModelReader]:
    """A ``torch.nn.Module``, and the programs that ``torch.export.save`` writes."""
    from cnnbench.spec.interchange.model_readers import ModelReader

    return (ModelReader("PyTorch", "torch", (".pt2",), _is_module, _code),)
