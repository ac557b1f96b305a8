"""The reference ops: for each layer kind a plain forward and backward function, readable as its definition."""

from cnnbench_numpy.ops import (
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
from cnnbench_numpy.ops.registry import REFERENCE

__all__ = [
    "REFERENCE",
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
