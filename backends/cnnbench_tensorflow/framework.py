"""TensorFlow, imported once with quiet logs; every module here takes ``tf`` from this one."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# Read when the library loads, so they stand before the import. A user's own setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

CHATTER = (b"I0000 ", b"WARNING: All log messages before absl::InitializeLog()")


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Holds back what the library's native code says of itself as it loads; everything else is passed on.

    Its messages come before its log is set up, so that the level above does not hold for them.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file:
                if not line.startswith(CHATTER):
                    os.write(2, line)


def _has_onednn() -> bool:
    """What TensorFlow says of itself; False where a version says it elsewhere, which is safe and may be slower."""
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:
        return False
    return bool(getattr(_pywrap_util_port, "IsMklEnabled", bool)())


with _without_chatter():
    import tensorflow as tf

tf.get_logger().setLevel(logging.ERROR)
tf.config.experimental.enable_tensor_float_32_execution(False)

# Whether TensorFlow takes oneDNN's kernels: by itself on processors with AVX512-VNNI, AVX512-BF16, AMX or AVX-VNNI, and
# where TF_ENABLE_ONEDNN_OPTS says so. Its own kernels lack more: groups and dilation in gradients of convolutions,
# groups beside a fused bias, and sums wider than bfloat16.
ONEDNN = _has_onednn()

__all__ = ["ONEDNN", "sums_bfloat16_in_float32", "tf", "wide"]


@cache
def sums_bfloat16_in_float32() -> bool:
    """Whether a convolution's gradient in bfloat16 is summed in something wider, tried once with 7,440 equal terms.

    oneDNN does so on processors that it has kernels for. On others, TensorFlow takes its own kernels, whose sums are
    accumulated in bfloat16 (5 to 25 % off), or fails, as where ``ONEDNN_MAX_CPU_ISA`` leaves oneDNN without kernels.
    """
    with tf.init_scope(), tf.device("/CPU:0"):
        x, cotangents = tf.ones((8, 33, 31, 4), tf.bfloat16), tf.ones((8, 31, 30, 3), tf.bfloat16)
        try:
            found = tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=(3, 2, 4, 3), out_backprop=cotangents, strides=(1, 1, 1, 1), padding="VALID"
            )
        except tf.errors.OpError:
            return False
        return bool(abs(found.numpy().astype(float) / (8 * 31 * 30) - 1).max() <= 2.0**-8)


def wide(x: Any) -> Any:
    """``x`` in a type in which long sums are safe: bfloat16 becomes float32, others stay."""
    return tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else x
