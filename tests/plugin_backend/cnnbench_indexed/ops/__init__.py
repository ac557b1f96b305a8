"""An op and its gradient for each kind, one module a family; importing this package registers all of them."""

from cnnbench_indexed.ops import activation, conv, linear, merge, normalization, pooling, regularization, shape
from cnnbench_indexed.ops.registry import OPERATIONS

__all__ = ["OPERATIONS", "activation", "conv", "linear", "merge", "normalization", "pooling", "regularization", "shape"]
