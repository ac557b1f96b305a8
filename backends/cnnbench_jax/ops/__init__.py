"""The JAX function of each layer kind, by family; importing this package registers all of them."""

from cnnbench_jax.ops import (
    activation,
    conv,
    layout_change,
    linear,
    merge,
    normalization,
    pooling,
    regularization,
    shape,
)
from cnnbench_jax.ops.registry import OPERATIONS

__all__ = [
    "OPERATIONS",
    "activation",
    "conv",
    "layout_change",
    "linear",
    "merge",
    "normalization",
    "pooling",
    "regularization",
    "shape",
]
