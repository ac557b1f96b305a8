"""From logits of pixels to the class of each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def classes_of_pixels(logits: Array) -> NDArray[np.int64]:
    """The class of the largest logit of each pixel, the first of equal ones: (N, K, H, W) -> (N, H, W)."""
    return np.asarray(logits.argmax(axis=1), np.int64)


def pixels_above(logits: Array, probability: float = 0.5) -> NDArray[np.bool_]:
    """Where the sigmoid of a logit is above a probability p: logit > log(p / (1 - p)). Any shape -> the same."""
    if not 0 < probability < 1:
        raise ValueError(f"the probability lies between 0 and 1, not at {probability}")
    return np.asarray(logits > np.log(probability / (1 - probability)))
