"""Gradients of a user's PyTorch module by autograd."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cnnbench.spec.interchange.model_readers import ModelGradients


def gradients(model: Any, inputs: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]) -> ModelGradients | None:
    """As ``ModelCode.gradients``; None for an exported program.

    Args:
        model: The module.
        inputs: In the module's order.
        cotangents: One for each output.
    """
    if isinstance(model, torch.export.ExportedProgram):
        return None
    module = copy.deepcopy(model).double().eval()
    batch = [torch.tensor(array) for array in inputs]
    floats = [item.requires_grad_() for item in batch if item.is_floating_point()]
    found = module(*(item.clone() for item in batch))  # a leaf cannot be changed in place
    outputs = [item for item in torch.utils._pytree.tree_leaves(found) if isinstance(item, torch.Tensor)]
    terms = [
        (output * torch.tensor(cotangent)).sum()
        for output, cotangent in zip(outputs, cotangents, strict=True)
        if output.requires_grad
    ]
    parameters = list(module.parameters())
    leaves = [*floats, *(item for item in parameters if item.requires_grad)]
    every = torch.autograd.grad(sum(terms), leaves, allow_unused=True) if terms else (None,) * len(leaves)
    by_leaf = {id(leaf): gradient for leaf, gradient in zip(leaves, every, strict=True) if gradient is not None}

    def of(leaf: torch.Tensor) -> np.ndarray:
        gradient = by_leaf.get(id(leaf))
        return np.zeros(tuple(leaf.shape)) if gradient is None else gradient.numpy()

    of_inputs = tuple(of(item) if item.is_floating_point() else None for item in batch)
    return ModelGradients(of_inputs, tuple(of(item) for item in parameters))


def weights(model: Any) -> list[np.ndarray]:
    """As ``ModelCode.weights``: the parameters, then the buffers that hold floats."""
    return [item.detach().cpu().numpy() for item in _held(model)]


def with_weights(model: Any, arrays: Sequence[np.ndarray]) -> Any:
    """A copy of the module with other parameters and buffers.

    Args:
        model: The module.
        arrays: One for each of ``weights``, or of its first ones.
    """
    module = copy.deepcopy(model)
    with torch.no_grad():
        for item, array in zip(_held(module), arrays, strict=False):
            item.copy_(torch.tensor(array))
    return module


def _held(module: Any) -> list[torch.Tensor]:
    return [*module.parameters(), *(item for item in module.buffers() if item.is_floating_point())]
