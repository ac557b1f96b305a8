"""TensorFlow, imported once with quiet logs; every module here takes ``tf`` from this one."""

from __future__ import annotations

import logging
import os
from typing import Any

# Read when the library loads, so they stand before the import. A user's own setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import tensorflow as tf

tf.get_logger().setLevel(logging.ERROR)
tf.config.experimental.enable_tensor_float_32_execution(False)

__all__ = ["tf", "wide"]


def wide(x: Any) -> Any:
    """``x`` in a type in which long sums are safe: bfloat16 becomes float32, others stay."""
    return tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else x
