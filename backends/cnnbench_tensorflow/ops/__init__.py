"""TensorFlow's function for each layer kind, one module for each family of layers.

Images are always channels-last inside (N, *spatial, C), the only layout in which TensorFlow has every CPU kernel.
"""

from __future__ import annotations

from cnnbench.execution.operations import Operations
from cnnbench_tensorflow.ops import (
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

FAMILIES = (activation, conv, layout_change, linear, merge, normalization, pooling, regularization, shape)


def operations() -> Operations:
    """A new registry with every op of this backend."""
    table = Operations("tensorflow")
    for family in FAMILIES:
        family.register(table)
    return table
