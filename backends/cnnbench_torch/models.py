"""Reads a user's PyTorch module, or a program that ``torch.export`` saved, as a graph; and runs it as it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnbench.errors import DataError, SpecError
from cnnbench.spec.interchange.model_readers import GivenInputs, ReadModel
from cnnbench_torch.reading.call import BATCH
from cnnbench_torch.reading.exported import read_program


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
    if isinstance(model, torch.export.ExportedProgram):
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
    return read_program(program, type(model).__name__, shapes)


def _read_saved(program: Any) -> ReadModel:
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    inputs = {item.arg.name for item in program.graph_signature.input_specs if item.kind.name == "USER_INPUT"}
    shapes = [tuple(node.meta["val"].shape) for node in placeholders if node.name in inputs]
    sizes = [[size if isinstance(size, int) else None for size in shape] for shape in shapes]
    if any(shape[0] != BATCH or None in shape for shape in sizes):
        raise SpecError(
            "the exported program has another batch",
            received=", ".join(map(str, shapes)),
            expected=f"a program that was exported with a batch of {BATCH}",
            remedy="name the function that makes the module instead: file.py:function",
        )
    return read_program(program, "exported", [tuple(shape[1:]) for shape in shapes])


def _refused(error: Exception) -> SpecError:
    text = " ".join(str(error).split())[:500]
    return SpecError(
        "torch.export cannot follow the module",
        received=f"{type(error).__name__}: {text}",
        remedy="take branches that depend on values out of forward; check that the module runs on such an input",
    )


def run(model: Any, batch: Mapping[str, np.ndarray], mode: str, read_model: ReadModel) -> dict[str, np.ndarray]:
    """What the user's program gives in float64.

    Args:
        model: The module or the exported program.
        batch: Its inputs by the graph's names.
        mode: ``eager`` or ``compile``.
        read_model: What was read of it.
    """
    exported = isinstance(model, torch.export.ExportedProgram)
    module = (model.module() if exported else copy.deepcopy(model).eval()).double()
    if mode == "compile":
        module = torch.compile(module)
    operands = [torch.as_tensor(batch[item.name]) for item in read_model.graph.inputs]
    operands = [item.double() if item.is_floating_point() else item.long() for item in operands]
    with torch.no_grad():
        made = module(*operands)
    leaves, _ = torch.utils._pytree.tree_flatten(made)
    tensors = [item for item in leaves if isinstance(item, torch.Tensor)]
    return {
        name: tensor.detach().cpu().numpy() for (name, _), tensor in zip(read_model.graph.outputs, tensors, strict=True)
    }
