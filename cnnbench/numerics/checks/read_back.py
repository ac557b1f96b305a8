"""Arrays that a program holds on its device, against those that were loaded: bit for bit, folded or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.answers import Disagreement
from cnnbench.numerics.case import Case
from cnnbench.numerics.rounding import all_to_storage
from cnnbench.spec.passes import fold_arrays, fold_batch_norm

Arrays = Mapping[str, NDArray[Any]]

# The least gap between values of a format, or its smallest normal number where a processor may take less for 0.
LEAST = {"float64": 2.0**-1022, "float32": 2.0**-126, "bfloat16": 2.0**-126, "float16": 2.0**-24}


def unlike(held: Arrays, loaded: Arrays, case: Case) -> Disagreement | None:
    """The first array that is not the one that was loaded; folded ones may differ by two roundings.

    Two, since a framework may round folded weights to float32 on the way to what it stores: |a - b| <= 2 u |a| + s with
    the unit roundoff u and the least gap s of what is stored.

    Args:
        held: As the program was read back.
        loaded: Weights and running statistics by full name, rounded to storage.
        case: Whose network and options they are.
    """
    folds = case.options.fold_batch_norm
    for name, array in (_folded(loaded, case) if folds else loaded).items():
        if name not in held or held[name].shape != array.shape:
            return Disagreement(np.inf, f"{name} is not held, or in another shape", array=name)
        if np.array_equal(held[name], array):
            continue
        gap = np.abs(held[name].astype(np.float64) - array)
        allowed = 2 * case.policy.storage_roundoff * np.abs(array) + LEAST[case.policy.storage] if folds else 0.0
        wrong = int((~(gap <= allowed) & ~(np.isnan(array) & np.isnan(held[name]))).sum())
        if wrong:
            text = f"{wrong} of {array.size} values of {name} are not those that were loaded"
            return Disagreement(np.inf, text, array=name)
    return None


def _folded(arrays: Arrays, case: Case) -> Arrays:
    """What folding makes of the arrays, for the nodes that are left."""
    graph = case.lowered
    folded = fold_arrays(graph, {name: array.astype(np.float64) for name, array in arrays.items()})
    after = fold_batch_norm(graph)
    kept = [spec.name for spec in (*after.named_weights(), *after.named_state())]
    return all_to_storage({name: folded[name] for name in kept}, case.policy)
