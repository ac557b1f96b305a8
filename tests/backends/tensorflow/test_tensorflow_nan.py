"""What TensorFlow's max pooling does with NaN, declared as a gap: this fails when a release mends it."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def test_max_pooling_drops_nan_and_the_backend_says_so(tensorflow_backend):
    import tensorflow as tf

    x = np.array([1.0, np.nan, 3.0, 4.0], np.float32).reshape(1, 4, 1)
    found = tf.nn.max_pool1d(x, 2, 2, "VALID").numpy().ravel()
    assert not np.isnan(found).any()
    said = {gap.kind for gap in tensorflow_backend.operations.gaps if gap.special_values}
    assert {"max_pool", "min_pool", "global_max_pool"} <= said
