"""An op and its gradient for each kind, one module a family."""

from __future__ import annotations

from cnnbench.execution.operations import Operations
from cnnbench_indexed.ops import activation, conv, linear, merge, normalization, pooling, regularization, shape


def operations() -> Operations:
    """A table of its own for each backend."""
    table = Operations("indexed")
    for family in (activation, conv, linear, merge, normalization, pooling, regularization, shape):
        family.register(table)
    return table
