"""Reads PyTorch checkpoints: tensors only, never code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cnnbench.errors import DataError
from cnnbench_torch.arrays import host

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which training scripts keep the weights


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The tensors of a state dict by name, in the file's order, as NumPy arrays on the host.

    Floating-point types narrower than float32 are widened exactly; other types stay as they are. The file is read
    with ``weights_only=True``, which refuses everything but tensors and plain containers.

    Raises:
        DataError: The file is missing, is not a checkpoint, holds code, or holds no tensors by name.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError("the weights file does not exist", where=str(path)) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise DataError(
            "the file is not a checkpoint that can be read safely",
            where=str(path),
            received=str(error).partition("\n")[0],
            expected="a state dict saved with torch.save: tensors and plain containers only",
            remedy="save model.state_dict() instead of the model",
        ) from None
    tensors = _state_dict(content)
    if tensors is None:
        raise DataError(
            "the file holds no state dict",
            where=str(path),
            received=f"{type(content).__name__} of {', '.join(map(str, list(content)[:8]))}"
            if isinstance(content, Mapping)
            else type(content).__name__,
            expected=f"tensors by name, or such a mapping under {', '.join(_WRAPPERS)}",
        )
    return {name: _array(tensor) for name, tensor in tensors.items()}


def _state_dict(content: object) -> Mapping[str, torch.Tensor] | None:
    if not isinstance(content, Mapping):
        return None
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return _state_dict(content[wrapper])
    named = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    return named if named and len(named) == len(content) else None


def _array(tensor: torch.Tensor) -> Any:
    return host(tensor) if tensor.is_floating_point() else tensor.detach().contiguous().numpy().copy()
