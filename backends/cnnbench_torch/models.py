"""Reads a user's PyTorch module, or a program that ``torch.export`` saved, as a graph; and runs it as it is."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch

from cnnbench.errors import DataError, SpecError
from cnnbench.execution.precision import precision
from cnnbench.spec.interchange.model_readers import GivenInputs, ReadModel
from cnnbench_torch.arrays import DTYPES, TorchPlacement, host
from cnnbench_torch.backend import set_arithmetic
from cnnbench_torch.gradients import gradients, weights, with_weights
from cnnbench_torch.reading.call import BATCH, SAVED_BATCH
from cnnbench_torch.reading.exported import read_program
from cnnbench_torch.training_mode import training_pass

__all__ = ["ModuleRunner", "digest", "gradients", "load", "read", "runner", "training_pass", "weights", "with_weights"]


def load(path: Path) -> Any:
    """The program of a ``.pt2`` file. Raises DataError where it is none."""
    try:
        return torch.export.load(path)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise DataError("the file is no exported program", where=str(path), received=reason) from error


def read(model: Any, inputs: GivenInputs) -> ReadModel:
    """The graph of a module or of an exported program, at inference.

    Args:
        model: The module; its mode is left as it was.
        inputs: Their shapes, without the batch.

    Raises:
        SpecError: No shape is known; ``torch.export`` refuses the module; parts of it are not read.
    """
    if _is_exported(model):
        return _read_saved(model)
    shapes = inputs.require("a torch.nn.Module")
    integers = inputs.integers or (False,) * len(shapes)
    batch = tuple(
        torch.zeros(BATCH, *shape, dtype=torch.int64) if whole else torch.randn(BATCH, *shape)
        for shape, whole in zip(shapes, integers, strict=True)
    )
    module = copy.deepcopy(model).float().eval()
    try:
        with torch.no_grad():
            program = torch.export.export(module, batch)
    except Exception as error:
        raise _refused(error) from error
    found = read_program(program, type(model).__name__, shapes, BATCH)
    return replace(found, noises=(*found.noises, *_branches(module)))


def _branches(module: torch.nn.Module) -> list[tuple[str, str]]:
    """Branches that are dropped in training, which leave no trace at inference: torchvision's and timm's layers."""
    rates = [
        (path, next((rate for name in ("p", "drop_prob") if isinstance(rate := getattr(part, name, None), float)), 0.0))
        for path, part in module.named_modules()
        if type(part).__name__ in ("StochasticDepth", "DropPath")
    ]
    return [(path, f"dropout of whole branches, p {rate:g}") for path, rate in rates if rate]


def _read_saved(program: Any) -> ReadModel:
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    inputs = {item.arg.name for item in program.graph_signature.input_specs if item.kind.name == "USER_INPUT"}
    shapes = [tuple(node.meta["val"].shape) for node in placeholders if node.name in inputs]
    sizes = [[size if isinstance(size, int) else None for size in shape] for shape in shapes]
    if any(shape[0] != SAVED_BATCH or None in shape for shape in sizes):
        raise SpecError(
            "the exported program has another batch",
            received=", ".join(map(str, shapes)),
            expected=f"a program that was exported with a batch of {SAVED_BATCH}",
            remedy="name the function that makes the module instead: file.py:function",
        )
    found = read_program(program, "exported", [tuple(shape[1:]) for shape in shapes], SAVED_BATCH)
    return replace(found, batch=SAVED_BATCH)


def _refused(error: Exception) -> SpecError:
    text = " ".join(str(error).split())[:500]
    return SpecError(
        "torch.export cannot follow the module",
        received=f"{type(error).__name__}: {text}",
        remedy="take branches that depend on values out of forward; check that the module runs on such an input",
    )


def digest(model: Any) -> str:
    """A digest of the parameters and buffers as the module or the exported program holds them."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict.items() if _is_exported(model) else model.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            found.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


class ModuleRunner:
    """A module as PyTorch runs it at inference: ``eager``, or ``compile`` by ``torch.compile`` with its defaults.

    Args:
        model: The module or the exported program. It is copied where it has another precision.
        mode: ``eager`` or ``compile``.
        policy: The name of the precision policy.
        device: ``cpu``, ``cuda``, ``cuda:1``.
    """

    def __init__(self, model: Any, mode: str, policy: str, device: str) -> None:
        exported = _is_exported(model)
        module = model.module() if exported else model.eval()
        dtype = DTYPES[precision(policy).storage]
        if any(item.is_floating_point() and item.dtype != dtype for item in module.state_dict().values()):
            module = (module if exported else copy.deepcopy(module)).to(dtype)
        self._module = module.to(device)
        self._placement = TorchPlacement(torch.device(device), dtype, channels_last=False)
        self._before_run = partial(set_arithmetic, policy, torch.device(device).type)
        self._call = self._module if mode == "eager" else _compiled(self._module)

    def place(self, array: np.ndarray) -> torch.Tensor:
        """As ``ModelRunner.place``."""
        with torch.inference_mode():
            return self._placement.tensor(array)

    def run(self, operands: Sequence[torch.Tensor]) -> Any:
        """As ``ModelRunner.run``."""
        self._before_run()
        with torch.inference_mode():
            return self._call(*operands)

    def read(self, results: Any) -> list[np.ndarray]:
        """As ``ModelRunner.read``."""
        leaves, _ = torch.utils._pytree.tree_flatten(results)
        return [host(item) for item in leaves if isinstance(item, torch.Tensor)]


def _compiled(module: Any) -> Any:
    """Compiled for each shape apart, as ``make_walk`` does it: with a code object of its own."""

    def call(*operands: torch.Tensor) -> Any:
        return module(*operands)

    own = FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)
    return torch.compile(own, dynamic=False)


def _is_exported(model: Any) -> bool:
    return isinstance(model, torch.export.ExportedProgram)


runner = ModuleRunner
