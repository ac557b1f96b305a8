"""Defects that no network of cnnbench can reach: it refuses the shape at build time, or does not offer the type.

They are shown on the framework's own call, and the test says so where a newer version has mended one.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv

pytestmark = pytest.mark.tensorflow
ABORTS = """
import tensorflow as tf

@tf.function
def gradient(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.nn.max_pool2d(x, 2, 2, "VALID"))
    return tape.gradient(y, x)

print(gradient(tf.ones((0, 8, 8, 2))).shape)
"""


def mended(what: str) -> None:
    """Fails with what to do."""
    pytest.fail(f"TensorFlow {pytest.importorskip('tensorflow').__version__} no longer has this: {what}")


def test_the_gradient_of_max_pooling_of_no_images_ends_the_process():
    pytest.importorskip("tensorflow", reason="needs tensorflow")
    done = subprocess.run([sys.executable, "-c", ABORTS], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        mended("our max_pool need not step around it")
    assert done.returncode in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGFPE)
    assert "(0, 8, 8, 2)" not in done.stdout


def test_a_convolution_without_outputs_returns_its_input_s_shape():
    tf = pytest.importorskip("tensorflow", reason="needs tensorflow")
    found = tf.nn.conv2d(tf.ones((1, 4, 4, 2)), tf.ones((5, 5, 2, 3)), 1, "VALID").shape
    if tuple(found) == (1, 0, 0, 3):
        mended("a kernel larger than the image")
    assert tuple(found) == (1, 4, 4, 2)  # uninitialised values
    builder = Builder("no output")
    with pytest.raises(SpecError):
        builder.add("conv", Conv(out_channels=3, kernel_size=5), builder.input("x", (2, 4, 4)))


def test_running_sums_in_bfloat16_stop_at_256():
    tf = pytest.importorskip("tensorflow", reason="needs tensorflow")
    found = float(tf.cumsum(tf.ones((2000,), tf.bfloat16))[-1])
    if found == 2000:
        mended("tf.cumsum in bfloat16")
    assert found == 256


def test_depthwise_convolution_in_float16_sums_in_float16():
    tf = pytest.importorskip("tensorflow", reason="needs tensorflow")
    x = np.abs(np.random.default_rng(0).normal(size=(1, 64, 64, 2))).astype(np.float16)
    w = np.ones((48, 48, 2, 1), np.float16)
    found, exact = (
        tf.nn.depthwise_conv2d(x.astype(kind), w.astype(kind), [1, 1, 1, 1], "VALID").numpy().astype(np.float64)
        for kind in (np.float16, np.float64)
    )
    error = np.abs(found - exact).max() / exact.max()
    if error < 2.0**-11:
        mended("depthwise convolution in float16; the backend may offer the type")
    assert error > 0.02  # of 2,304 positive terms; rounding the result alone is 0.0005
