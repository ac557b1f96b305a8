"""The table of reference ops, and how an op written for the canonical layout serves channels-last operands."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.operations import Backward, Call, Forward, Gradients, Operations, OpResult

Array = NDArray[Any]
Arrays = tuple[Array, ...]

REFERENCE = Operations("numpy")


def spatial(kind: str, *, backward: Backward) -> Callable[[Forward], Forward]:
    """Registers a pair that is written for (N, C, *spatial) and sees views of channels-last operands as such."""

    def decorate(forward: Forward) -> Forward:
        @wraps(forward)
        def forward_in_either(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            if not call.channels_last:
                return forward(layer, inputs, weights, state, call)
            result = forward(layer, _first(inputs), weights, state, call._replace(channels_last=False))
            return result._replace(outputs=_last(result.outputs))

        @wraps(backward)
        def backward_in_either(layer: Any, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
            if not call.channels_last:
                return backward(layer, saved, gradients, weights, call)
            result = backward(layer, saved, _first(gradients), weights, call._replace(channels_last=False))
            return result._replace(inputs=_last(result.inputs))

        REFERENCE.register(kind, backward=backward_in_either)(forward_in_either)
        return forward

    return decorate


def _first(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(np.moveaxis(a, -1, 1) if a is not None and a.ndim > 2 else a for a in arrays)


def _last(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(np.moveaxis(a, 1, -1) if a is not None and a.ndim > 2 else a for a in arrays)
