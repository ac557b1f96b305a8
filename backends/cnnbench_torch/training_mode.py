"""A forward pass of a user's PyTorch module in training mode."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from cnnbench.spec.interchange.model_readers import TrainingPass

_DROPPING = (
    *(functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d),
    *(functional.alpha_dropout, functional.feature_alpha_dropout),
    *(torch.dropout, torch.dropout_, torch.alpha_dropout, torch.alpha_dropout_),
    *(torch.feature_dropout, torch.feature_dropout_, torch.feature_alpha_dropout, torch.feature_alpha_dropout_),
)


class _NothingDropped(TorchFunctionMode):
    """Dropouts give their operand, and attention keeps every weight."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if function in _DROPPING:
            return args[0] if args else named["input"]
        if function is functional.scaled_dot_product_attention:
            return function(*args[:4], *((0.0, *args[5:]) if len(args) > 4 else ()), **_kept(named))
        return function(*args, **named)


def _kept(named: dict[str, Any]) -> dict[str, Any]:
    return {key: 0.0 if key == "dropout_p" else item for key, item in named.items()}


def training_pass(model: Any, inputs: Sequence[np.ndarray], seed: int) -> TrainingPass | None:
    """As ``ModelCode.training_pass``; None for an exported program.

    Args:
        model: The module.
        inputs: In the module's order.
        seed: Of what else it draws.
    """
    if isinstance(model, torch.export.ExportedProgram):
        return None
    module = copy.deepcopy(model).double().train()
    with torch.random.fork_rng(devices=[]), torch.no_grad(), _NothingDropped():
        torch.manual_seed(seed)
        found = module(*(torch.tensor(array) for array in inputs))
    outputs = [item for item in torch.utils._pytree.tree_leaves(found) if isinstance(item, torch.Tensor)]
    return TrainingPass(tuple(item.double().numpy() for item in outputs), module)
