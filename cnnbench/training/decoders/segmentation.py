"""From logits of pixels to the class of each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def classes_of_pixels(logits: Array) -> NDArray[np.int64]:
    """The class of the largest logit of each pixel, the first of equal ones: (N, K, H, W) -> (N, H, W)."""
    return np.asarray(logits.argmax(axis=1), np.int64)
