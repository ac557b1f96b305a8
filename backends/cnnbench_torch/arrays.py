"""Host arrays to tensors of a device, dtype and memory format, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_MEMORY_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True)
class TorchPlacement:
    """Where tensors of a program live.

    Args:
        device: The device.
        dtype: Of weights, activations and masks.
        channels_last: Whether tensors of rank 4 and 5 are dense in (N, *spatial, C) order.
    """

    device: torch.device
    dtype: torch.dtype
    channels_last: bool

    def tensor(self, array: Any, *, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor of its own with the array's values; ``dtype`` instead of int64 or the placement's."""
        array = np.asarray(array)
        if array.dtype.kind not in "fi":  # bfloat16 as NumPy's extension type: widened exactly
            array = array.astype(np.float32)
        wanted = dtype or (torch.int64 if array.dtype.kind == "i" else self.dtype)
        tensor = torch.from_numpy(np.array(array, order="C", copy=True)).to(self.device, wanted)
        if self.channels_last and tensor.dim() in _MEMORY_FORMATS:
            tensor = tensor.contiguous(memory_format=_MEMORY_FORMATS[tensor.dim()])
        return tensor

    @property
    def state_dtype(self) -> torch.dtype:
        """The dtype of running statistics: never narrower than float32."""
        return torch.promote_types(self.dtype, torch.float32)


def host(tensor: Tensor) -> np.ndarray[Any, Any]:
    """A copy on the host in canonical order: float64 as it is, narrower types as float32, integers as int64."""
    if not tensor.dtype.is_floating_point:
        wide = torch.int64
    else:
        wide = torch.float64 if tensor.dtype is torch.float64 else torch.float32
    copied = tensor.detach().to("cpu", wide, copy=True).contiguous()
    return copied.numpy()
