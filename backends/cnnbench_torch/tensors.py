"""Tensors of checkpoints, of every layout and type, as arrays of plain numbers."""

from __future__ import annotations

from typing import Any

import torch

from cnnbench.errors import DataError
from cnnbench_torch.arrays import host


def array_of(tensor: torch.Tensor, where: str, name: str, notes: list[str]) -> Any:
    """The numbers of a tensor as a dense array; a line in ``notes`` where it was held otherwise.

    Args:
        tensor: Of a checkpoint.
        where: What messages call its place.
        name: Its name, for the notes.
        notes: Is added to.

    Raises:
        DataError: It has no values, or values that are no real numbers.
    """
    reason = _no_array(tensor)
    if reason is not None:
        raise DataError(
            "the tensor cannot be read as an array",
            where=where,
            received=f"{reason}, of {str(tensor.dtype).removeprefix('torch.')}",
            expected="real numbers by position",
            remedy="save the state dict of the model with its weights loaded, as dense real tensors",
        )
    tensor = tensor.detach()
    if tensor.is_quantized:
        notes.append(f"{name} is quantised ({str(tensor.dtype).removeprefix('torch.')}): dequantised as PyTorch does")
        tensor = tensor.dequantize()
    elif tensor.layout != torch.strided:
        notes.append(f"{name} is sparse: made dense")
        tensor = tensor.to_dense()
    return host(tensor) if tensor.is_floating_point() else tensor.contiguous().numpy().copy()


def _no_array(tensor: torch.Tensor) -> str | None:
    """Why it is none."""
    if tensor.is_meta:
        return "a tensor without values (device meta)"
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.is_complex():
        return "a complex tensor"
    name = str(tensor.dtype).removeprefix("torch.")
    packed = name.startswith(("float4", "bits")) or name in {
        f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)
    }
    return "a packed tensor" if packed else None
