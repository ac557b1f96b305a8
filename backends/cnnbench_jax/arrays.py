"""Host arrays to device arrays of an explicit dtype, and back."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnnbench.errors import NumericalError


@dataclass(frozen=True)
class JaxPlacement:
    """Where and how the arrays of a program live.

    Args:
        device: The device.
        dtype: Of weights, activations and masks.
    """

    device: jax.Device
    dtype: np.dtype[Any]

    def wide_types(self) -> AbstractContextManager[Any]:
        """Within it float64 exists if this program needs it, and only then: elsewhere JAX makes it float32."""
        return jax.enable_x64(self.dtype == np.float64)

    def array(self, values: Any, *, dtype: Any = None) -> Array:
        """A device array of its own; ``dtype`` instead of int32 or the placement's.

        Raises NumericalError where JAX gave another dtype than was asked.
        """
        values = np.asarray(values)
        wanted = np.dtype(dtype or (np.int32 if values.dtype.kind == "i" else self.dtype))
        with self.wide_types():
            made = jax.device_put(jnp.array(values.astype(wanted, copy=False)), self.device)
        if made.dtype != wanted:
            raise NumericalError("JAX made another dtype", received=made.dtype, expected=wanted)
        return made

    @property
    def state_dtype(self) -> np.dtype[Any]:
        """The dtype of running statistics: never narrower than float32."""
        return np.dtype(np.float64 if self.dtype == np.float64 else np.float32)


def host(array: Array) -> np.ndarray[Any, Any]:
    """A copy on the host: float64 as it is, narrower types as float32, integers as int64."""
    values = np.asarray(array)
    if values.dtype.kind in "iu":
        return np.array(values, np.int64, order="C", copy=True)
    return np.array(values, np.float64 if values.dtype == np.float64 else np.float32, order="C", copy=True)
