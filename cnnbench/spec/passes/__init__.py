"""Passes over a graph that change how a network is written and not what it computes."""

from cnnbench.spec.passes.copying import copies_of, with_copies
from cnnbench.spec.passes.folding import fold_arrays, fold_batch_norm, foldable_batch_norms
from cnnbench.spec.passes.lowering import lower

__all__ = ["copies_of", "fold_arrays", "fold_batch_norm", "foldable_batch_norms", "lower", "with_copies"]
